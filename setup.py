"""Build description for colcon (ament_python) and pip.

Dependencies are listed here. `constraints.txt` pins them, `package.xml` repeats them as rosdep
keys.
"""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "scmpr_ros"

CONSOLE_SCRIPTS = [
    "ablate",
    "adapt",
    "benchmark",
    "build_map",
    "check",
    "compare_drives",
    "compare_methods",
    "convert",
    "demo",
    "diagnose",
    "domain_generalisation",
    "edit_map",
    "evaluate",
    "export_onnx",
    "inspect_map",
    "localizer",
    "make_town",
    "map_loader",
    "play_bag",
    "record_answers",
    "soak_localizer",
    "train",
    "train_segmenter",
    "verify_map",
]

# What a robot needs: the modules that the nodes and `build_map` import, and nothing else.
BASE = [
    "setuptools",
    "numpy",
    "scipy",
    "torch",
    "timm",
    "safetensors",
    "faiss-cpu",
    "opencv-python-headless",
    "pillow",
    "PyYAML",
    "rosbags",
    "tqdm",
]

# Extras by purpose; scmpr_ros/cli/console_scripts.py says which command needs which. jsonargparse
# is not in the base, though small: rosdep has no key for it.
EVALUATION = ["jsonargparse[signatures]", "matplotlib", "rich"]
EXPORT = [*EVALUATION, "onnx", "onnxruntime", "onnxscript"]
EXTRAS = {
    "evaluation": EVALUATION,
    "town": [*EVALUATION, "numba", "open3d", "threadpoolctl"],
    # Surveys in LAS, LAZ and E57, as LiDAR maps.
    "maps": ["laspy", "lazrs", "pye57"],
    # Place maps built by several processes or machines.
    "cluster": ["distributed"],
    "training": [*EVALUATION, "lightning", "tensorboard", "threadpoolctl"],
    "export": EXPORT,
    # Runs external readers, ONNX networks in place of the heads; beside the nodes on a robot.
    "readers": ["onnxruntime"],
    "openvino": [*EXPORT, "openvino"],
    # The CUDA kernels of mamba_ssm as a backend of the scan; installing them needs nvcc.
    "gpu": ["mamba-ssm"],
    # Recordings for the Rerun viewer: `--rerun`, and the parameter `rerun` of the localizer.
    "viewer": ["rerun-sdk"],
    # ROS 2 as wheels, where none is sourced.
    "ros": ["ros-kilted-rclpy[fastrtps]", "ros-kilted-common-interfaces", "catkin-pkg"],
    # Oracles: filterpy of the tracker's Kalman updates, evo of trajectory files.
    "test": [
        "pytest<9",
        "pytest-cov",
        "pytest-timeout",
        "pytest-xdist",
        "hypothesis",
        "filterpy",
        "evo",
    ],
    # Coverage-guided fuzzing of what reads files.
    "fuzz": ["atheris"],
    "lint": ["ruff", "mypy", "types-PyYAML"],
    "docs": ["mkdocs", "mkdocs-material", "mkdocstrings-python"],
}

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Find a robot's pose in a LiDAR map from one camera image, inside ROS 2",
    license="Apache-2.0",
    maintainer="scmpr_ros maintainers",
    maintainer_email="maintainers@scmpr-ros.invalid",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        PACKAGE: ["py.typed"],
        f"{PACKAGE}.evaluation": ["map_page.html"],
        f"{PACKAGE}.lidar": ["segmentation.safetensors", "panorama.cpp"],
        f"{PACKAGE}.networks.selective_scan": ["scan.cpp"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.*")),
        (f"share/{PACKAGE}/config/readers", glob("config/readers/*.yaml")),
        (f"share/{PACKAGE}/config/range_view", glob("config/range_view/*.yaml")),
        (f"share/{PACKAGE}/models", glob("models/*.*")),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            f"{script} = {PACKAGE}.cli.console_scripts:{script}" for script in CONSOLE_SCRIPTS
        ],
    },
)
