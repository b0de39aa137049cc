# `make demo` and `make test` do all set-up themselves; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

# A sourced ROS 2 brings its own rclpy, seen through --system-site-packages; elsewhere the same
# rclpy comes as wheels. The stamp carries the choice, so that a change of it sets up afresh.
ROS := $(or $(ROS_DISTRO),wheels)
STAMP := $(VENV)/.installed-$(ROS)
OTHER_STAMPS := $(filter-out $(STAMP),$(wildcard $(VENV)/.installed-*))
ifeq ($(ROS),wheels)
EXTRAS := test,lint,openvino,ros
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)
else
EXTRAS := test,lint,openvino
VENV_FLAGS := --system-site-packages
endif
# Set by the wheels' start-up file of another virtual environment, whose libraries are not ours.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

# Shared library : Debian package, all of them for Open3D.
SYSTEM_LIBRARIES := libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 \
                    libX11.so.6:libx11-6 libidn2.so.0:libidn2-0 libudev.so.1:libudev1

.PHONY: help demo test lint format constraints clean
help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)  ## localise a drive in a town never seen before; DATA=folder for a drive of yours
	$(BIN)/demo $(if $(DATA),--data "$(DATA)") $(ARGS)

test: $(STAMP)  ## all tests, with their line coverage
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=85 $(ARGS)

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints:  ## pin the newest versions of everything, for all supported Pythons (needs uv)
	uv pip compile setup.py --extra test --extra lint --extra openvino --extra ros --universal --upgrade \
		--python-version 3.10 --no-annotate --no-header --output-file constraints.txt

clean:  ## remove the virtual environment and everything built
	rm -rf $(VENV) build install log out *.egg-info .coverage* .*_cache .hypothesis

$(STAMP): setup.py setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit( \
		"scmpr_ros runs on Python 3.10 to 3.13, but $(PYTHON) is %d.%d; name another one: " \
		"make PYTHON=python3.12" % sys.version_info[:2])'
ifeq ($(ROS),wheels)
	@echo "No ROS 2 is sourced: its wheels go into $(VENV) too."
else
	@$(PYTHON) -c 'import rclpy' 2>/dev/null || { echo "ROS 2 $(ROS) is sourced, but $(PYTHON)" \
		"cannot import its rclpy. Name the Python it was built for, make PYTHON=/usr/bin/python3," \
		"or use a shell in which it is not sourced."; exit 1; }
	@echo "ROS 2 $(ROS) is sourced: its rclpy is used and the wheels are not installed."
endif
	@missing=""; for entry in $(SYSTEM_LIBRARIES); do \
		PATH="$$PATH:/sbin" ldconfig -p | grep -qF "$${entry%%:*}" || missing="$$missing $${entry##*:}"; \
	done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then \
		echo "Open3D needs system libraries; install them with: sudo apt-get install$$missing"; exit 1; \
	fi
	$(if $(OTHER_STAMPS),rm -rf $(VENV))
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt setuptools
	$(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e ".[$(EXTRAS)]"
	@touch $@
