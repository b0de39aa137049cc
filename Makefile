# `make demo` and `make test` set everything up themselves; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

# A sourced ROS 2 provides rclpy, seen through --system-site-packages; otherwise rclpy comes as
# wheels. The stamp file names the choice, so that switching sets up again.
ROS := $(or $(ROS_DISTRO),wheels)
STAMP := $(VENV)/.installed-$(ROS)
OTHER_STAMPS := $(filter-out $(STAMP),$(wildcard $(VENV)/.installed-*))
EXTRAS := test,lint,docs,town,training,openvino,maps,cluster
ifeq ($(ROS),wheels)
EXTRAS := $(EXTRAS),ros
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)
else
VENV_FLAGS := --system-site-packages
endif
# Set by the start-up file of the wheels in another virtual environment, whose libraries differ.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Tests start hundreds of processes, which would all compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

# Shared library : Debian package, all for Open3D.
SYSTEM_LIBRARIES := libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 \
                    libX11.so.6:libx11-6 libidn2.so.0:libidn2-0 libudev.so.1:libudev1

# Three processes for two cores, as many tests wait for nodes; each has the tests of a file at a time.
# One that crashes is not replaced: its test is named, and the rest cannot wait for it.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --max-worker-restart 0
COVERAGE := --cov --cov-report=term --cov-fail-under=85
# The library by itself: without nodes, commands, training, the town, exported networks, documents.
NOT_QUICK := ros training town cli evaluation test_documents.py test_launch_files.py \
             test_minimal_install.py test_packaging.py methods/test_onnx_export.py \
             methods/test_openvino.py networks/test_triton_scan.py

.PHONY: help demo test test-quick test-all lint format docs constraints clean
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)  ## localise a drive in an unseen town; DATA=folder for your own recording
	$(BIN)/demo $(if $(DATA),--data "$(DATA)") $(ARGS)

test: $(STAMP)  ## the tests without slow studies
	$(PYTEST) -m "not slow" $(ARGS)

test-quick: $(STAMP)  ## the tests that take less than a minute together
	$(PYTEST) -m "not slow" $(NOT_QUICK:%=--ignore=test/%) --no-cov $(ARGS)

test-all: $(STAMP)  ## all tests, with line coverage; run by CI
	$(PYTEST) $(COVERAGE) $(ARGS)

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## format the sources with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## build the documentation site into out/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

constraints:  ## pin the newest versions for all supported Pythons (needs uv)
	uv pip compile setup.py $(foreach extra,test lint docs town training openvino maps cluster fuzz viewer ros,--extra $(extra)) \
		--universal --upgrade --python-version 3.10 --no-annotate --no-header \
		--output-file constraints.txt
	sed -i '1i# Pinned versions for Python 3.10 to 3.13, written by `make constraints`.' constraints.txt

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
