"""External readers: ONNX networks that read classes and depth of an image for the RGB branch.

A reader is described by one YAML file (`description`). It sees the rectified image, or the view
that the backbone sees, at its own size (`input`), is run by ONNX Runtime or OpenVINO (`runtime`),
and its answer is averaged over the cells of the mask grid (`cells`) as probabilities of the joint
classes (`classes`) or of the ranges (`ranges`, `ground`). `external` puts them together.
"""
