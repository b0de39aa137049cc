"""Compressed indexes find what exact search finds, and are saved with the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from place_maps import files_in, header, tile

from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.retrieval import compressed_index
from scmpr_ros.retrieval.compressed_index import build_index, index_spec, read_index
from scmpr_ros.retrieval.index import DescriptorIndex
from scmpr_ros.retrieval.place_map import PlaceMap, write_place_map
from scmpr_ros.retrieval.place_map.operations import update_place_map
from scmpr_ros.retrieval.place_map.verification import faults_of
from scmpr_ros.retrieval.tiled_array import TiledArray

PLACES, HEADINGS, DIM = 800, 6, 128
SPEC = "PCA32,IVF64,SQ8"


def smooth_descriptors() -> np.ndarray:
    """Descriptors of a low-dimensional family, alike in neighbouring headings."""
    generator = np.random.default_rng(0)
    basis = generator.normal(size=(24, DIM)) * np.exp(-np.arange(24) / 8)[:, None]
    place = generator.normal(size=(PLACES, 2, 24))
    angle = np.arange(HEADINGS)[:, None] * 2 * np.pi / HEADINGS
    mixed = place[:, :1] * np.cos(angle) + place[:, 1:] * np.sin(angle)
    descriptors = mixed @ basis + generator.normal(size=(PLACES, HEADINGS, DIM)) * 0.05
    return (descriptors / np.linalg.norm(descriptors, axis=-1, keepdims=True)).astype(np.float16)


DESCRIPTORS = smooth_descriptors()


def queries(count: int = 30) -> torch.Tensor:
    generator = np.random.default_rng(1)
    rows = DESCRIPTORS.reshape(-1, DIM)[generator.integers(0, PLACES * HEADINGS, count)]
    disturbed = rows + generator.normal(size=rows.shape) * 0.05
    return torch.from_numpy((disturbed / np.linalg.norm(disturbed, axis=1, keepdims=True)).astype(
        np.float32
    ))  # fmt: skip


@pytest.fixture(scope="module")
def index() -> DescriptorIndex:
    return DescriptorIndex.of(DESCRIPTORS, SPEC)


@pytest.fixture(scope="module")
def exact() -> DescriptorIndex:
    return DescriptorIndex.of(DESCRIPTORS)


def test_finds_what_exact_search_finds(index: DescriptorIndex, exact: DescriptorIndex) -> None:
    recall = []
    for query in queries():
        found, expected = index.search(query, 20), exact.search(query, 20)
        pairs = [set(zip(n.place.tolist(), n.heading.tolist(), strict=True))
                 for n in (found, expected)]  # fmt: skip
        recall.append(len(pairs[0] & pairs[1]) / 20)
        cosines = DESCRIPTORS.astype(np.float32)[found.place, found.heading] @ query.numpy()
        np.testing.assert_allclose(found.phi, cosines, rtol=1e-5)
        assert (found.phi.diff() <= 0).all() and len(pairs[0]) == 20
    assert np.mean(recall) > 0.98


@pytest.mark.parametrize("allowed_places", [3, 200, 790])
def test_only_allowed_places_are_found(
    index: DescriptorIndex, exact: DescriptorIndex, allowed_places: int
) -> None:
    allowed = np.zeros(PLACES, bool)
    allowed[np.random.default_rng(2).permutation(PLACES)[:allowed_places]] = True
    recall = []
    for query in queries(10):
        found, expected = (i.search(query, 30, allowed) for i in (index, exact))
        assert allowed[found.place].all() and len(found.phi) == min(30, allowed_places * HEADINGS)
        recall.append(np.isin(expected.phi.numpy().round(4), found.phi.numpy().round(4)).mean())
    assert np.mean(recall) > 0.97


def test_all_viewpoints_can_be_asked_for(index: DescriptorIndex) -> None:
    found = index.search(queries(1)[0], PLACES * HEADINGS + 5)
    rows = (found.place * HEADINGS + found.heading).tolist()
    assert sorted(rows) == list(range(PLACES * HEADINGS))


@pytest.mark.parametrize("spec", ["PCA32,SQ4", "IVF16,PQ16x4fs", "HNSW16,Flat"])
def test_other_factories(spec: str, exact: DescriptorIndex) -> None:
    index = DescriptorIndex.of(DESCRIPTORS, spec)
    allowed = np.arange(PLACES) % 2 == 0
    for mask in (None, allowed):
        hits = [
            index.search(query, 1, mask).place == exact.search(query, 1, mask).place
            for query in queries()
        ]
        assert np.mean(hits) > 0.8


def test_compares_given_viewpoints(index: DescriptorIndex, exact: DescriptorIndex) -> None:
    place, heading = np.array([7, 799, 7]), np.array([5, 0, 1])
    query = queries(1)[0]
    torch.testing.assert_close(
        index.compare(query, place, heading).phi, exact.compare(query, place, heading).phi
    )


def test_tiles_are_indexed_like_one_array() -> None:
    tiles = TiledArray(np.split(DESCRIPTORS, [100, 450]))
    first, second = (build_index(values, SPEC) for values in (DESCRIPTORS, tiles))
    assert first is not None and second is not None
    assert first == second, "and the same bytes again"
    found = DescriptorIndex.of(tiles, SPEC).search(queries(1)[0], 20)
    expected = DescriptorIndex.of(DESCRIPTORS, SPEC).search(queries(1)[0], 20)
    assert torch.equal(found.place, expected.place)


def test_the_index_is_chosen_by_size() -> None:
    assert index_spec("auto", 50_000, 768) == "exact"
    assert index_spec("auto", 1_000_000, 768) == "PCA96,IVF2048,SQ8"
    assert index_spec("auto", 1_000_000, 64) == "IVF2048,SQ8"
    assert index_spec("Flat", 10, 64) == "Flat"


def test_unknown_factories_are_refused() -> None:
    for spec in ("", "nonsense", "PCA500,Flat", "IVF100000,Flat"):
        with pytest.raises(ConfigError, match="cannot be made of 4800 descriptors of 128"):
            build_index(DESCRIPTORS, spec)


def test_saved_with_the_map_and_kept_by_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "map"
    tiles = [tile(f"t{i}", 40, 100 * i) for i in range(4)]
    write_place_map(folder, header(), tiles, "IVF8,SQ8")
    assert sum(name.startswith("index-") for name in files_in(folder)) == 1
    assert faults_of(folder) == []
    update_place_map(folder, [tile("t1", 35, 100)])
    place_map = PlaceMap.load(folder)
    assert place_map.saved_index is not None and place_map.saved_index.spec == "IVF8,SQ8"
    assert faults_of(folder) == []

    made = []
    monkeypatch.setattr("scmpr_ros.retrieval.index.build_index", lambda *_: made.append(1))
    saved = place_map.saved_index
    index = DescriptorIndex.of(place_map.descriptors, "auto", saved)
    place = torch.from_numpy(np.array(place_map.descriptors[77, 3], np.float32))
    found = index.search(place, 3)
    assert (found.place[0], found.heading[0]) == (77, 3) and not made
    DescriptorIndex.of(place_map.descriptors, "exact", saved)
    assert made, "the setting overrides the map's index"


def test_exact_as_saved_whatever_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scmpr_ros.retrieval.compressed_index._EXACT_VIEWPOINTS", 10)
    write_place_map(tmp_path / "map", header(), [tile("a", 40)], "exact")
    place_map = PlaceMap.load(tmp_path / "map")
    made = []
    monkeypatch.setattr("scmpr_ros.retrieval.index.build_index", lambda *_: made.append(1))
    DescriptorIndex.of(place_map.descriptors, "auto", place_map.saved_index)
    assert not made
    DescriptorIndex.of(place_map.descriptors, "auto")
    assert made, "without the map's choice an index of this size is compressed"


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    write_place_map(folder, header(), [tile("a", 40)], "IVF4,SQ8")
    (path,) = folder.glob("index-*")
    content = path.read_bytes()
    changed = bytearray(content)
    changed[500] ^= 1
    path.write_bytes(changed)
    assert len(faults_of(folder)) == 1 and path.name in faults_of(folder)[0]
    place_map = PlaceMap.load(folder)
    with pytest.raises(MapFormatError, match=rf"{path.name} is damaged.*edit_map index"):
        DescriptorIndex.of(place_map.descriptors, saved=place_map.saved_index)
    path.write_bytes(content[:-1])
    with pytest.raises(MapFormatError, match=rf"{path.name} is truncated"):
        PlaceMap.load(folder)
    for wrong, message in ((b"garbage", "no FAISS index"), (content, "holds 240 descriptors")):
        with pytest.raises(MapFormatError, match=message):
            read_index(np.frombuffer(wrong, np.uint8), (30, 6, 8), "x.faiss")


def test_the_mean_is_not_subtracted() -> None:
    """Else descriptors of different length would be ranked as if their offset counted."""
    generator = np.random.default_rng(3)
    descriptors = DESCRIPTORS.astype(np.float32) * generator.uniform(0.5, 1, (PLACES, 1, 1))
    descriptors[..., 0] += 0.7
    content = build_index(descriptors.astype(np.float16), "PCA64,Flat")
    assert content is not None
    index = read_index(content, descriptors.shape, "x")
    query = queries(1).numpy()
    phi, _ = index.search(query, 1)
    assert phi[0, 0] == pytest.approx((descriptors.reshape(-1, DIM) @ query[0]).max(), abs=0.02)
    assert compressed_index.EXACT == "exact"
