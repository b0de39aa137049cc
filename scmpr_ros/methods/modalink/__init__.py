"""ModaLink: one encoder for images and for the ranges that the camera would see."""

from scmpr_ros.methods.modalink.network import ModaLinkConfig, ModaLinkNetwork
from scmpr_ros.methods.registry import Method
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig

METHOD = Method(ModaLinkNetwork, ModaLinkConfig, WindowObjective, WindowObjectiveConfig)
