"""SCM-PR: find a robot's pose in a LiDAR map from one camera image, inside ROS 2."""

__version__ = "0.1.0"
