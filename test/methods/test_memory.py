"""What is remembered of earlier batches, and what of it counts as wrong."""

from __future__ import annotations

import math

import torch

from scmpr_ros.methods.contrast import Viewpoints
from scmpr_ros.methods.memory import NO_RECORDING, DescriptorMemory

HEADINGS = torch.arange(4) * (math.pi / 2)


def ask(memory: DescriptorMemory, image: torch.Tensor, recording: int = 0) -> torch.Tensor:
    asked = Viewpoints(torch.zeros(1, 3), torch.tensor([recording]), torch.zeros(1))
    found = memory.similarity(image[None], asked, HEADINGS, 6.0, math.radians(26))
    return found.view(1, -1, 4)


def test_an_empty_memory_and_none_say_nothing() -> None:
    image = torch.tensor([1.0, 0])
    assert (ask(DescriptorMemory(3, 4, 2), image) == -1).all()
    assert ask(DescriptorMemory(0, 4, 2), image).numel() == 0


def test_near_windows_of_the_same_town_are_excused_and_the_oldest_forgotten() -> None:
    memory, image = DescriptorMemory(3, 4, 2), torch.tensor([1.0, 0])
    places = torch.tensor([1.0, 0]).expand(2, 4, 2)
    at = torch.tensor([[2.0, 0, 0], [50.0, 0, 0]])
    memory.remember(places, Viewpoints(at, torch.tensor([0, 0]), torch.zeros(2)))
    near, far, empty = ask(memory, image)[0]
    assert near.tolist() == [-1, 1, 1, 1]  # the window that looks the same way is no mistake
    assert far.tolist() == [1, 1, 1, 1] and empty.tolist() == [-1] * 4
    assert ask(memory, image, recording=1)[0, 0].tolist() == [1, 1, 1, 1]
    memory.remember(-places, Viewpoints(at, torch.tensor([1, 1]), torch.zeros(2)))
    assert memory.recordings.tolist() == [1, 1, 0]
    assert ask(memory, image)[0, 2].tolist() == [-1, 1, 1, 1]


def test_it_is_part_of_a_state() -> None:
    memory = DescriptorMemory(2, 4, 2)
    where = Viewpoints(torch.ones(1, 3), torch.tensor([5]), torch.tensor([0.5]))
    memory.remember(torch.ones(1, 4, 2), where)
    again = DescriptorMemory(2, 4, 2)
    again.load_state_dict(memory.state_dict())
    assert again.recordings.tolist() == [5, NO_RECORDING]
