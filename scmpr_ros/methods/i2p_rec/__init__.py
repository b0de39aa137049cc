"""I2P-Rec: images and maps as bird's-eye views."""

from scmpr_ros.methods.i2p_rec.network import I2pRecConfig, I2pRecNetwork
from scmpr_ros.methods.registry import Method
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig

METHOD = Method(I2pRecNetwork, I2pRecConfig, WindowObjective, WindowObjectiveConfig)
