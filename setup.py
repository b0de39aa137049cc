"""Build description, for colcon (ament_python) and for pip alike.

What the package needs is named here once; `constraints.txt` pins it, `package.xml` repeats it in
rosdep's words.
"""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "scmpr_ros"

CONSOLE_SCRIPTS = {
    "map_loader": "ros.commands.map_loader",
    "localizer": "ros.commands.localizer",
    "play_bag": "ros.commands.play_bag",
    "record_answers": "ros.commands.record_answers",
    "ablate": "cli.ablate",
    "benchmark": "cli.benchmark",
    "build_map": "cli.build_map",
    "compare_drives": "cli.compare_drives",
    "convert": "cli.convert",
    "demo": "cli.demo",
    "diagnose": "cli.diagnose",
    "evaluate": "cli.evaluate",
    "export_onnx": "cli.export_onnx",
    "make_town": "cli.make_town",
    "train": "cli.train",
    "train_segmenter": "cli.train_segmenter",
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
        f"{PACKAGE}.lidar": ["segmentation.safetensors"],
        f"{PACKAGE}.networks.selective_scan": ["scan.cpp"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.*")),
        (f"share/{PACKAGE}/models", glob("models/*.*")),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "setuptools",
        "numba",
        "numpy",
        "scipy",
        "torch",
        "timm",
        "safetensors",
        "faiss-cpu",
        "open3d",
        "opencv-python-headless",
        "pillow",
        "PyYAML",
        "rosbags",
        "lightning",
        "jsonargparse[signatures]",
        "tensorboard",
        "threadpoolctl",
        "tqdm",
        "rich",
        "matplotlib",
    ],
    extras_require={
        "test": ["pytest<9", "pytest-cov", "pytest-timeout", "hypothesis"],
        "lint": ["ruff", "mypy", "types-PyYAML"],
        # The real ROS 2 as wheels, for machines where none is sourced.
        "ros": ["ros-kilted-rclpy[fastrtps]", "ros-kilted-common-interfaces", "catkin-pkg"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "openvino": ["onnx", "onnxscript", "onnxruntime", "openvino"],
        # A further backend of the scan; needs nvcc to install.
        "gpu": ["mamba-ssm"],
    },
    entry_points={
        "console_scripts": [
            f"{script} = {PACKAGE}.{module}:main" for script, module in CONSOLE_SCRIPTS.items()
        ],
    },
)
