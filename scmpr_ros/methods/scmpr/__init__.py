"""SCM-PR, semantic-enhanced cross-modal place recognition: equations 1 to 9, 11 and 12."""

from scmpr_ros.methods.registry import Method
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.scmpr.objective import ScmprObjective, ScmprObjectiveConfig

METHOD = Method(ScmprNetwork, ScmprConfig, ScmprObjective, ScmprObjectiveConfig)
