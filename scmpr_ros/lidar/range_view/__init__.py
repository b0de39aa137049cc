"""Range-view networks of others, such as RangeNet++, SalsaNext and CENet, that classify scans.

A network is an ONNX file described by a YAML file (`description`). A scan is projected onto the
network's range image (`projection`), classified (`network`), and its points get their classes back
by a vote among neighbours in the image (`clean_up`).
"""
