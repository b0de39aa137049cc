"""How fast it is, beside peers in the same run and beside what the machine could do.

`query` times a localizer stage by stage, `networks` the backbones side by side, forward and in a
training step, `scans` the backends of the selective scan. Machines drift, so candidates take turns
and ratios within one run are what counts. None of this is a test.
"""
