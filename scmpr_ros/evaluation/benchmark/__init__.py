"""Speed benchmarks beside peers of the same run and beside the limits of the machine.

`queries` times a localizer stage by stage, `networks` the backbones, forward and in a training
step, `scans` the backends of the selective scan. The speed of machines drifts, so candidates take
turns: trust ratios within one run.
"""
