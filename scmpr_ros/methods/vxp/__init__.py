"""VXP: voxels and pixels."""

from scmpr_ros.methods.registry import Method
from scmpr_ros.methods.vxp.network import VxpConfig, VxpNetwork
from scmpr_ros.methods.vxp.objective import VxpObjective, VxpObjectiveConfig

METHOD = Method(VxpNetwork, VxpConfig, VxpObjective, VxpObjectiveConfig)
