"""Readers of point cloud files: one module a format, each opens a `PointTable`."""
