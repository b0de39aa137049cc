"""People in poses given by hands and feet, with clothes, hair and bags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, quads
from scmpr_ros.town.vehicles.sheets import cells, ellipses, stretched, without_slivers

Array = NDArray[np.float64]
Rng = np.random.Generator

PERSON, RIDER = class_id("person"), class_id("rider")

_THIGH, _SHANK, _UPPER_ARM, _FOREARM = 0.43, 0.42, 0.29, 0.27
"""Bone lengths of a person of 1.75 m, in metres."""
_TORSO = 0.56
_SIDES_OF_BODY = np.array([1.0, -1.0])
_SKINS = np.array([[0.48, 0.31, 0.23], [0.40, 0.25, 0.17], [0.27, 0.15, 0.09], [0.12, 0.06, 0.035]])
_HAIRS = np.array([[0.012, 0.01, 0.008], [0.05, 0.028, 0.015], [0.14, 0.08, 0.035],
                   [0.30, 0.20, 0.09], [0.32, 0.31, 0.30]])  # fmt: skip
_CLOTHES = np.array(
    [[0.012, 0.012, 0.014], [0.04, 0.042, 0.046], [0.014, 0.02, 0.05], [0.06, 0.08, 0.13],
     [0.13, 0.13, 0.13], [0.16, 0.12, 0.08], [0.06, 0.055, 0.03], [0.30, 0.27, 0.22],
     [0.52, 0.52, 0.51], [0.25, 0.015, 0.02], [0.03, 0.12, 0.20], [0.30, 0.20, 0.04]]
)  # fmt: skip
_LEATHER = (0.022, 0.019, 0.017)
_COAT_SHARES = (0.22, 0.14, 0.12, 0.08, 0.1, 0.07, 0.06, 0.06, 0.07, 0.04, 0.03, 0.01)
_TROUSER_SHARES = (0.3, 0.12, 0.2, 0.2, 0.06, 0.04, 0.02, 0.04, 0.02, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Pose:
    """Pose of a person of 1.75 m.

    hip, chest: (3,) middles between hip and shoulder joints. ankles, hands: (2, 3), left and right.
    Knees bend forwards, elbows down and back.
    """

    hip: Array
    chest: Array
    ankles: Array
    hands: Array


@dataclass(frozen=True)
class Outfit:
    """Clothes of a person: colours (3,) and cut.

    hem_m, skirt_m: length of coat and skirt below the hip. hat: colour of a hat, or None.
    """

    coat: Array
    trousers: Array
    skin: Array
    hair: Array
    hem_m: float
    skirt_m: float
    has_tights: bool = False
    has_long_hair: bool = False
    hat: Array | None = None
    has_backpack: bool = False
    has_bag: bool = False


def draw_outfit(rng: Rng) -> Outfit:
    """Draw clothes, mostly dark and muted."""
    has_skirt = rng.random() < 0.14
    load = rng.choice(["nothing", "backpack", "bag"], p=(0.6, 0.15, 0.25))
    skin = rng.choice(len(_SKINS), p=(0.5, 0.3, 0.13, 0.07))
    hair = rng.choice(len(_HAIRS), p=(0.32, 0.3, 0.18, 0.08, 0.12))
    return Outfit(
        coat=_CLOTHES[rng.choice(len(_CLOTHES), p=_COAT_SHARES)] * rng.uniform(0.92, 1.08, 3),
        trousers=_CLOTHES[rng.choice(len(_CLOTHES), p=_TROUSER_SHARES)] * rng.uniform(0.7, 1.2),
        skin=_SKINS[skin] * rng.uniform(0.85, 1.15),
        hair=_HAIRS[hair if skin < 2 or hair == 4 else 0],
        hem_m=0.0 if has_skirt else float(rng.choice([0.0, 0.08, 0.3], p=(0.45, 0.35, 0.2))),
        skirt_m=rng.uniform(0.38, 0.6) if has_skirt else 0.0,
        has_tights=rng.random() < 0.6,
        has_long_hair=has_skirt or rng.random() < 0.3,
        hat=_CLOTHES[rng.integers(6)] if rng.random() < 0.15 else None,
        has_backpack=load == "backpack",
        has_bag=load == "bag",
    )  # fmt: skip


def person(rng: Rng) -> Mesh:
    """A walking or standing person, at times a child, at the origin and facing +x."""
    pose = _walking(rng) if rng.random() < 0.75 else _standing(rng)
    is_child = rng.random() < 0.1
    scale = rng.uniform(0.62, 0.82) if is_child else rng.normal(0.985, 0.045)
    mesh = figure(pose, draw_outfit(rng), PERSON, head_scale=1.25 if is_child else 1.0)
    on_ground = np.eye(4)
    on_ground[2, 3] = -mesh.corners[..., 2].min()
    return stretched(mesh.transformed(on_ground), (scale, scale * rng.uniform(0.92, 1.18), scale))


def _walking(rng: Rng) -> Pose:
    phase, step = rng.uniform(0, 2 * np.pi), rng.uniform(0.24, 0.38)
    swing = phase + np.array([0, np.pi])
    x = step * np.sin(swing)
    lift = 0.09 * np.maximum(np.cos(swing), 0)
    ankles = np.stack([x, 0.075 * _SIDES_OF_BODY, 0.08 + lift - 0.04 * (x < -0.15)], axis=1)
    reach = (_THIGH + _SHANK) * 0.992
    hip = np.array([0, 0, 0.08 + np.sqrt(reach**2 - (step * np.sin(phase)) ** 2)])
    chest = hip + (0.04, 0, _TORSO)
    hands = chest + np.stack([0.06 - 0.75 * x, 0.25 * _SIDES_OF_BODY, -0.5 + 0.15 * abs(x)], axis=1)
    return Pose(hip, chest, ankles, hands)


def _standing(rng: Rng) -> Pose:
    ankles = np.array([[rng.uniform(-0.05, 0.08), 0.1, 0.08], [0.0, -0.1, 0.08]])
    hip = np.array([0, 0, 0.08 + 0.99 * (_THIGH + _SHANK)])
    chest = hip + (0.01, 0, _TORSO)
    hanging, raised = np.array([0.03, 0.25, -0.53]), np.array([0.28, 0.1, -0.18])
    arms = [raised if rng.random() < 0.25 else hanging for _ in range(2)]
    hands = chest + np.array([arms[0], arms[1] * (1, -1, 1)])
    return Pose(hip, chest, ankles, hands)


def joint(start: Array, end: Array, bones: tuple[float, float], bend: ArrayLike) -> Array:
    """Knee or elbow (3,) between the outer ends of two bones; bend: direction it points to."""
    along = end - start
    distance = min(float(np.linalg.norm(along)), 0.998 * sum(bones))
    along = along / np.linalg.norm(along)
    reach = (distance**2 + bones[0] ** 2 - bones[1] ** 2) / (2 * distance)
    aside = np.asarray(bend, float) - along * (along @ np.asarray(bend, float))
    height = np.sqrt(max(bones[0] ** 2 - reach**2, 0))
    return start + reach * along + height * aside / np.linalg.norm(aside)


def loft(
    path: ArrayLike, wide: ArrayLike, deep: ArrayLike, sides: int,
    label: int, colour: ArrayLike, material: Material = Material.CLOTH,
) -> Mesh:  # fmt: skip
    """A tube of elliptic cross section along a path (K, 3) near a plane of constant y.

    The path runs upwards or forwards. wide, deep: (K,) half axes along y and across the path.
    """
    path = np.asarray(path, float)
    along = np.gradient(path, axis=0)
    across = np.cross((0.0, 1.0, 0.0), along)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    side = np.asarray(wide, float)[:, None] * np.array([0.0, 1.0, 0.0])
    front = np.asarray(deep, float)[:, None] * across
    return quads(cells(ellipses(path, side, front, sides)), material, label, colour)


def figure(pose: Pose, outfit: Outfit, label: int, head_scale: float = 1.0) -> Mesh:
    """A dressed person in a pose."""
    parts = _trunk(pose, outfit, label)
    for side, ankle, hand in zip(_SIDES_OF_BODY, pose.ankles, pose.hands, strict=True):
        parts += _leg(pose.hip + (0, 0.09 * side, 0), ankle, outfit, label)
        parts += _arm(pose.chest + (0, 0.175 * side, -0.005), hand, side, outfit, label)
    parts += _head(pose.chest + (0.02, 0, 0.02), head_scale, outfit, label)
    if outfit.has_bag:
        low = pose.hands[1] + (-0.13, -0.05, -0.36)
        parts.append(boxes([low], [low + (0.28, 0.09, 0.3)], Material.CLOTH, label, _LEATHER))
    return without_slivers(parts)


def _trunk(pose: Pose, outfit: Outfit, label: int) -> list[Mesh]:
    up = pose.chest - pose.hip
    share = np.array([-0.12, 0.08, 0.32, 0.68, 0.93, 1.03, 1.09])
    wide = np.array([0.13, 0.168, 0.15, 0.175, 0.188, 0.13, 0.06])
    deep = np.array([0.09, 0.122, 0.11, 0.125, 0.105, 0.085, 0.055])
    thick = 1.07 if outfit.hem_m > 0 else 1.0
    path = pose.hip + share[:, None] * up
    parts = [loft(path, wide * thick, deep * thick, 7, label, outfit.coat)]
    # Coats and skirts widen with the stride.
    swing = 0.1 + 0.9 * np.abs(pose.ankles[:, 0] - pose.hip[0]).max()
    for length, colour in ((outfit.hem_m, outfit.coat), (outfit.skirt_m, outfit.trousers)):
        if length > 0:
            drop = np.array([[length], [-0.06]]) * (0, 0, 1)
            parts.append(loft(pose.hip - drop, (0.19 + 0.1 * length, 0.19),
                              (0.145 + swing * length, 0.14), 7, label, colour))  # fmt: skip
    if outfit.has_backpack:
        back = pose.hip + np.array([0.35, 0.65, 0.95])[:, None] * up - (0.17, 0, 0)
        parts.append(loft(back, (0.13, 0.16, 0.1), (0.07, 0.1, 0.05), 6, label, _LEATHER))
    return parts


def _leg(hip: Array, ankle: Array, outfit: Outfit, label: int) -> list[Mesh]:
    knee = joint(hip, ankle, (_THIGH, _SHANK), (1.0, 0.0, 0.1))
    path = np.stack([ankle, ankle + 0.65 * (knee - ankle), knee, hip])
    bare = outfit.skirt_m > 0
    width = np.array([0.042, 0.058, 0.062, 0.088]) * (0.85 if bare else 1.0)
    colour = outfit.skin * (0.06 if outfit.has_tights else 1.0) if bare else outfit.trousers
    shoe = ankle + np.array([(-0.07, 0, -0.045), (0.03, 0, -0.03), (0.19, 0, -0.058)])
    return [
        loft(path, width, width * 1.1, 6, label, colour),
        loft(shoe, (0.03, 0.05, 0.028), (0.035, 0.05, 0.02), 4, label, _LEATHER),
    ]


def _arm(shoulder: Array, hand: Array, side: float, outfit: Outfit, label: int) -> list[Mesh]:
    elbow = joint(shoulder, hand, (_UPPER_ARM, _FOREARM), (-1.0, 0.35 * side, -0.3))
    path = np.stack([hand, elbow + 0.3 * (hand - elbow), elbow, shoulder])
    wide, deep = (0.036, 0.045, 0.05, 0.042), (0.036, 0.045, 0.052, 0.055)
    tip = hand + 0.09 * (hand - elbow) / np.linalg.norm(hand - elbow)
    return [
        loft(path, wide, deep, 5, label, outfit.coat),
        loft([tip, hand], [0.03, 0.036], [0.02, 0.03], 4, label, outfit.skin),
    ]


def _head(neck: Array, scale: float, outfit: Outfit, label: int) -> list[Mesh]:
    z = np.array([-0.03, 0.06, 0.1, 0.18, 0.25, 0.285])
    x = np.array([-0.02, 0.0, 0.02, 0.015, 0.0, -0.01])
    size = np.array([0.06, 0.06, 0.07, 0.08, 0.062, 0.01]) * scale
    path = neck + scale * np.stack([x, 0 * z, z], axis=1)
    face = loft(path, size, size * 1.2, 6, label, outfit.skin)
    cover = outfit.hair if outfit.hat is None else outfit.hat
    low = 0.02 if outfit.has_long_hair else 0.14
    hz = np.array([low, 0.2, 0.27, 0.3])
    hair = neck + scale * np.stack([[-0.045, -0.018, -0.006, -0.006], 0 * hz, hz], axis=1)
    round_ = np.array([0.065, 0.084, 0.06, 0.01]) * scale
    return [face, loft(hair, round_, round_ * 1.18, 6, label, cover)]
