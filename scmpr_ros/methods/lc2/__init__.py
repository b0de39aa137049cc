"""(LC)2: disparity images and range images."""

from scmpr_ros.methods.lc2.network import Lc2Config, Lc2Network
from scmpr_ros.methods.lc2.objective import Lc2Objective, Lc2ObjectiveConfig
from scmpr_ros.methods.registry import Method

METHOD = Method(Lc2Network, Lc2Config, Lc2Objective, Lc2ObjectiveConfig)
