"""`export_onnx`: write the RGB branch as an ONNX file and check it against torch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from scmpr_ros.cli.console import run_command
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.methods.export import export_onnx
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    return run_command("export_onnx", lambda: _export(options))


def _export(options: Namespace) -> None:
    began_s = time.perf_counter()
    network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
    with Console().status("exporting and checking the network (takes half a minute) ..."):
        export = export_onnx(network, options.out, options.tolerance)
    view, seconds = network.config.view, time.perf_counter() - began_s
    print(
        f"{export.path}: {export.size_bytes / 1e6:.1f} MB for views of {view.height}x{view.width}, "
        f"written and checked in {seconds:.0f} s\n"
        f"ONNX Runtime against torch: descriptors differ by at most {export.descriptor_error:.1e}, "
        f"masks agree in {export.mask_agreement:.2%} of cells\n"
        f"matches place maps with the fingerprint {fingerprint(network)[:12]}..."
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="export_onnx",
        description="Export the RGB branch, which computes descriptor and class probabilities of "
        "an image's view, as an ONNX file for runtimes without torch, and check it against torch. "
        "The file's doc_string documents inputs and outputs.",
    )
    parser.add_argument("out", type=Path, help="the ONNX file to write")
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped weights)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-5,
        help="largest accepted difference from torch in descriptors; probabilities: ten times that",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
