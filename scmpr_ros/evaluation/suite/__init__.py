"""The benchmark of the real: entries of several kinds, measured by one command.

`config` is the file's dataclass and the registry of kinds, `run` measures, `report` writes. Each
kind of entry has a module of its own. A suite chooses nothing: it takes the shipped settings.
"""
