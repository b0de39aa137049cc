"""Record the answers of a localizer as JSON lines.

Subscribes to image, image/compressed, localizer/pose and localizer/status.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `record_answers`."""
    return start("record_answers", "answer_recorder_node", "AnswerRecorderConfig", __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
