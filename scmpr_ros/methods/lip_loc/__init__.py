"""LIP-Loc: images and range images by contrast."""

from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.lip_loc.objective import LipLocObjective, LipLocObjectiveConfig
from scmpr_ros.methods.registry import Method

METHOD = Method(LipLocNetwork, LipLocConfig, LipLocObjective, LipLocObjectiveConfig)
