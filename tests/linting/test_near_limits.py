"""Both sides of the limits by which pictures are near duplicates: pictures in memory, and hashes made bit by bit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from linting.tiny_set import encode, picture

from yolo_nanfix.linting.rules import confirming, near_duplicates
from yolo_nanfix.linting.rules.near_duplicates import Near

Pixels = np.ndarray
SIDE = 64
DEVIATION = 30
WITHIN = {"xx": 0.88, "yy": 0.88}
"""The change by which all of a picture lies within the other."""


def held(*pictures: Pixels, **columns: object) -> confirming._Pictures:
    """Pictures (64, 64) that were decoded before, in a set without labels; unlike hashes, unless given."""
    count = len(pictures)
    made = {
        "files": [f"{i}.png" for i in range(count)],
        "split": np.zeros(count, np.int8),
        "content": np.arange(1, count + 1),
        "size": np.ones(count, np.int64),
        "identity": np.zeros(count, np.int64),
        "width": np.full(count, SIDE),
        "height": np.full(count, SIDE),
        "looks": np.random.default_rng(0).integers(1, 1 << 63, (count, 8), dtype=np.uint64),
        "labels_of": lambda _: np.zeros((0, 5), np.float32),
    }
    decoded = confirming._Pictures(SimpleNamespace(**{**made, **columns}), 3)
    decoded._known.update(enumerate(pictures))
    return decoded


def scene(seed: int = 0, cells: int = 6) -> Pixels:
    """(128, 128) float32: soft shapes, of which pictures show the middle."""
    shapes = np.random.default_rng(seed).random((cells, cells)).astype(np.float32)
    return cv2.resize(shapes, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC) * 180 + 35


def seen(scene: Pixels, *, xx=1.0, xy=0.0, yx=0.0, yy=1.0, x=0.0, y=0.0) -> Pixels:
    """The middle of a scene, so scaled, sheared and moved that this affine change aligns it with the plain middle."""
    turn = np.linalg.inv([[xx, xy], [yx, yy]])
    move = SIDE - turn @ (SIDE / 2 + np.array([x, y]))
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(scene, np.column_stack([turn, move]), (SIDE, SIDE), flags=how).clip(0, 255).astype(np.uint8)


def alike(share: float) -> tuple[Pixels, Pixels]:
    """Two pictures of this correlation: the second has a wave across the first."""
    first = seen(scene()).astype(np.float64)
    wave = np.sin(2 * np.pi * 3 * np.mgrid[0:SIDE, 0:SIDE][1] / SIDE)
    first = (first - first.mean()) / first.std()
    wave -= first * (first * wave).mean()
    second = share * first + (1 - share**2) ** 0.5 * wave / wave.std()
    one, other = ((part * DEVIATION + 128).round().astype(np.uint8) for part in (first, second))
    return one, other


def spotted(one: Pixels, deviations: float) -> Pixels:
    """A picture with a spot in the middle, lighter by so many standard deviations."""
    spot = one.astype(np.float64)
    spot[30:35, 30:35] += deviations * one.std()
    return spot.round().clip(0, 255).astype(np.uint8)


def noise(count: int) -> Pixels:
    """(count, 64, 64) uint8: pictures of which none is like another."""
    return np.random.default_rng(1).integers(60, 190, (count, SIDE, SIDE), dtype=np.uint8)


@pytest.mark.parametrize(
    ("far", "reach"),
    [
        ([0.125], 0.125),
        ([0.126], -1),
        ([0.01, 0.02], 0.02),
        ([0.01, 0.5], 0.01),
        ([0.01] * 11, 0.01),
        ([0.01] * 12, -1),
        ([1.9, 1.9], -1),
        ([], -1),
    ],
)
def test_at_most_ten_copies_are_nearer_than_an_eighth_of_what_follows(far, reach):
    """The second that follows is the limit; where there is none its squared distance is 1."""
    assert confirming._reach(np.array([far], np.float32).reshape(1, -1)) == pytest.approx([reach])


@pytest.mark.parametrize(("share", "found"), [(0.94, 1), (0.92, 0)])
def test_a_correlation_of_093_links_two_pictures(share, found):
    links = list(confirming._links(held(*alike(share)), np.array([0]), np.array([1])))
    assert [link._replace(alike=0) for link in links] == [Near(0, 1, 0, 0)] * found
    assert [link.alike for link in links] == [pytest.approx(share, abs=0.005)] * found


@pytest.mark.parametrize(("moved", "found"), [(2, 1), (3, 0)])
def test_a_crop_is_aligned_from_a_correlation_of_06_on(moved, found):
    """Moved by 2 pixels in both directions it is 0.65, by 3 it is 0.5; both fit."""
    shapes = scene(seed=3, cells=12)
    one, other = seen(shapes), seen(shapes, **WITHIN, x=moved, y=moved)
    assert confirming._fitted(one, other) > 0.99
    links = list(confirming._links(held(one, other), np.array([0]), np.array([1])))
    assert [(link.first, link.second, link.turn, link.cropped) for link in links] == [(0, 1, 0, True)] * found
    assert all(link.alike > 0.99 for link in links)


@pytest.mark.parametrize(("before", "found"), [(0, 1), (7, 1), (8, 0)])
def test_eight_candidates_are_tried(before, found):
    *others, copy = noise(before + 1)
    links = confirming._links(held(*others, copy, copy), np.arange(before + 1), np.full(before + 1, before + 1))
    assert [link[:3] for link in links] == [(before, before + 1, 0)] * found


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"x": 7.5, "y": 0.5}, True),
        ({"x": 13.5, "y": 0.5}, False),
        ({"x": 0.5, "y": -7.5}, True),
        ({"xx": 0.88, "yy": 0.9}, True),
        ({"xx": 0.82, "yy": 0.9}, False),
        ({"xx": 0.9, "yy": 0.88}, True),
        ({"xx": 0.9, "yy": 0.82}, False),
        ({**WITHIN, "xy": 0.07}, True),
        ({**WITHIN, "xy": 0.14}, False),
        ({**WITHIN, "yx": 0.07}, True),
        ({**WITHIN, "yx": 0.14}, False),
    ],
)
def test_a_crop_moves_by_ten_pixels_and_changes_scale_by_015_and_shear_by_01(change, fits):
    found = confirming._fitted(seen(scene()), seen(scene(), **change))
    assert found == pytest.approx(1, abs=0.01) if fits else found == 0


@pytest.mark.parametrize(("wave", "fits"), [(0.1, True), (0.2, False)])
def test_aligned_pictures_have_a_correlation_of_099(wave, fits):
    """A wave of a tenth of a deviation makes it 0.995, of two tenths 0.98."""
    shapes = scene()
    across = np.sin(2 * np.pi * 3 * np.arange(2 * SIDE) / SIDE) * 2**0.5
    other = seen((shapes + wave * seen(shapes).std() * across).astype(np.float32), **WITHIN)
    found = confirming._fitted(seen(shapes), other)
    assert found == (pytest.approx((1 + wave**2) ** -0.5, abs=0.004) if fits else 0)


@pytest.mark.parametrize(("spot", "fits"), [(0, True), (0.4, True), (0.7, False)])
def test_aligned_pictures_differ_nowhere_by_half_a_deviation(spot, fits):
    shapes = scene()
    assert (confirming._fitted(seen(shapes), spotted(seen(shapes, **WITHIN), spot)) > 0.99) is fits


@pytest.mark.parametrize(("spot", "fits"), [(0, True), (0.8, False)])
def test_black_pixels_of_an_aligned_picture_are_compared_too(spot, fits):
    down, across = np.mgrid[-SIDE:SIDE, -SIDE:SIDE]
    dark = np.clip(scene() - 900 * np.exp(-(down**2 + across**2) / 150), 0, None)
    one, other = seen(dark), seen(dark, **WITHIN)
    assert other[28:37, 28:37].max() == 0
    assert (confirming._fitted(spotted(one, spot), other) > 0.99) is fits


@pytest.mark.parametrize(("width", "height", "fits"), [(40, 40, True), (39, 40, False), (40, 39, False)])
def test_pictures_of_under_forty_pixels_are_not_aligned(width, height, fits):
    one = alike(1)[0]
    pictures = held(one, one, width=np.array([90, width]), height=np.array([90, height]))
    assert confirming._laid_upon(pictures, 0, 1, 0) == pytest.approx(float(fits))
    assert pictures.laid == fits


@pytest.mark.parametrize(("before", "fits"), [(0, True), (1999, True), (2000, False)])
def test_two_thousand_pairs_are_aligned(before, fits):
    one = alike(1)[0]
    pictures = held(one, one)
    pictures.laid = before
    assert confirming._laid_upon(pictures, 0, 1, 0) == pytest.approx(float(fits))


@pytest.mark.parametrize(
    ("columns", "plain"),
    [
        (np.arange(SIDE), True),
        (np.cumsum([1, 2] * 32), False),
        (np.where(np.arange(SIDE) < 40, 0, np.arange(SIDE) % 2 * 200), True),
        (np.where(np.arange(SIDE) < 39, 0, np.arange(SIDE) % 2 * 200), False),
    ],
)
def test_a_drawing_has_neighbours_within_two_levels_at_six_tenths_of_its_pixels(columns, plain):
    """A step of one level a pixel makes neighbours differ by two; 39 of 64 columns are more than six tenths."""
    assert confirming._is_plain(np.tile(columns, (SIDE, 1)).astype(np.uint8)) is plain


@pytest.mark.parametrize(
    ("correlation", "spot", "same"), [(0.991, 0, True), (0.989, 0, False), (0.995, 0.3, True), (0.995, 0.4, False)]
)
def test_small_copies_have_a_correlation_of_099_and_no_spot_of_035(correlation, spot, same):
    one = alike(1)[0]
    pictures = held(one, spotted(one, spot), width=np.array([39, 90]))
    assert confirming._shows_the_same(pictures, Near(0, 1, 0, correlation)) is same


def test_of_two_orientations_that_are_equal_the_first_is_told():
    half = noise(1)[0][:, : SIDE // 2]
    _, copies = held(np.hstack([half, half[:, ::-1]])).stacked([0])
    best, turn = confirming._compared(copies, copies)
    assert (best.item(), turn.item()) == (pytest.approx(1), 0)


@pytest.mark.parametrize(("files", "last"), [(128, 127), (129, 128)])
def test_128_images_are_sampled_from_first_to_last(files, last):
    table = held(*[np.zeros(0, np.uint8)] * files).table
    chosen = confirming._sample(table, [])
    assert (len(set(chosen)), chosen[0], chosen[-1]) == (128, 0, last)
    assert confirming._sample(table, range(files - 3)) == list(range(files - 3, files))


def test_blank_images_are_not_sampled():
    looks = np.array([[0] * 8, [1] * 8, [2] * 8], np.uint64)
    assert confirming._sample(held(*noise(3), looks=looks).table, []) == [1, 2]


@pytest.mark.parametrize(
    ("content", "size", "identity", "same"),
    [
        ([5, 5], [9, 9], [0, 0], True),
        ([5, 5], [9, 8], [0, 0], False),
        ([5, 6], [9, 9], [0, 0], False),
        ([5, 6], [9, 9], [1, 1], True),
        ([5, 6], [9, 9], [1, 2], False),
    ],
)
def test_equal_bytes_or_names_of_one_file_are_one(content, size, identity, same):
    columns = {"content": np.array(content), "size": np.array(size), "identity": np.array(identity)}
    table = held(*noise(2), **columns).table
    assert confirming._one_file(table, np.array([0]), np.array([1])).tolist() == [same]


def chain(first: int, count: int) -> list[Near]:
    """Links that connect so many images."""
    return [Near(i, i + 1, 0, 0.95) for i in range(first, first + count - 1)]


@pytest.mark.parametrize(("groups", "sizes"), [((512,), [512]), ((256, 256), [512]), ((256, 257), [256, 257])])
def test_linked_images_are_compared_in_blocks_of_512(groups, sizes):
    links = [link for i, count in enumerate(groups) for link in chain(sum(groups[:i]), count)]
    blocks = list(confirming._blocks(held(), links))
    assert [(len(block), whole) for block, whole in blocks] == [(size, True) for size in sizes]
    assert [image for block, _ in blocks for image in block] == list(range(sum(groups)))


def test_a_larger_group_is_compared_in_blocks_that_overlap_by_half():
    (first, whole), (second, also) = confirming._blocks(held(*noise(513)), chain(0, 513))
    assert (len(first), len(second), whole, also) == (512, 257, False, False)
    assert second[:256] == first[256:] and {*first, *second} == set(range(513))


def pairs_of(pictures: confirming._Pictures, monkeypatch, **options) -> list[tuple[int, int]]:
    monkeypatch.setattr(confirming, "_Pictures", lambda *_: pictures)
    return [pair[:2] for pair in confirming.near_pairs(pictures.table, 3, **options)[0]]


@pytest.mark.parametrize(("images", "pairs"), [(2, [(0, 1)]), (128, [(0, 1)]), (129, [])])
def test_up_to_128_images_are_compared_whatever_their_hashes(images, pairs, monkeypatch):
    copy, *others = noise(images - 1)
    assert pairs_of(held(copy, copy, *others), monkeypatch) == pairs


def test_a_single_image_is_not_decoded(monkeypatch):
    pictures = held(noise(1)[0])
    pictures._known.clear()
    assert pairs_of(pictures, monkeypatch) == []
    assert pictures._known == {}


@pytest.mark.parametrize(("pairs", "images", "told"), [(3, 20, 3), (4, 20, 0), (4, 400, 4), (5, 400, 0)])
def test_up_to_three_pairs_or_a_hundredth_of_the_images_may_have_captions(pairs, images, told, monkeypatch):
    """Without boxes nothing tells whether the spot is an object; the other images are blank."""
    shown = [side for one in noise(pairs) for side in (one, spotted(one, 0.8))]
    looks = np.zeros((images, 8), np.uint64)
    looks[: 2 * pairs] = np.random.default_rng(0).integers(1, 1 << 63, pairs, dtype=np.uint64).repeat(2)[:, None]
    pictures = held(*shown, *[np.full((SIDE, SIDE), 9, np.uint8)] * (images - 2 * pairs), looks=looks)
    assert pairs_of(pictures, monkeypatch) == [(2 * i, 2 * i + 1) for i in range(told)]
    assert [pair[:2] for pair in pictures.undecided] == [(2 * i, 2 * i + 1) for i in range(pairs)]


@pytest.mark.parametrize(
    ("splits", "correlations", "partner"),
    [
        ((0, 0, 0), (0.95, 0.95), 0),
        ((0, 0, 0), (0.95, 0.96), 1),
        ((0, 0, 0), (0.96, 0.95), 0),
        ((0, 1, 0), (0.96, 0.95), 1),
        ((1, 0, 0), (0.95, 0.96), 0),
    ],
)
def test_of_several_blocks_the_pair_across_splits_counts_then_the_closest_then_the_first(
    splits, correlations, partner, monkeypatch
):
    found = [Near(i, 2, 0, one) for i, one in enumerate(correlations)]
    monkeypatch.setattr(confirming, "_judge", lambda *_: iter(found))
    assert pairs_of(held(*noise(3), split=np.array(splits)), monkeypatch) == [(partner, 2)]
    assert pairs_of(held(*noise(3), split=np.array(splits)), monkeypatch, copies=[2]) == []


@pytest.mark.parametrize(("before", "read"), [(0, True), (19_999, True), (20_000, False)])
def test_twenty_thousand_images_are_decoded_at_a_quarter_of_384_pixels(before, read):
    """Both decoders scale a JPEG by the same transform: at least 96 pixels a side are wanted."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.jpg")
        file.write_bytes(encode(".jpg", picture(384, 384)))
        pictures = held(noise(1)[0], files=[str(file)])
        pictures._known = dict.fromkeys(range(1, before + 1))
        fine = pictures.fine(0)
        quarter = cv2.imread(str(file), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    assert (fine is not None, pictures.left_out) == (read, set() if read else {0})
    if fine is not None:
        assert fine.shape == (64, 64) and quarter.shape == (96, 96)
        expected = cv2.resize(quarter, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(fine.astype(int) - expected).max() <= 1


def hashes(*values: int) -> Pixels:
    """(n, 8) looks, the same in all orientations."""
    return np.array(values, np.uint64)[:, None].repeat(8, axis=1)


def bits(*places: int) -> int:
    return sum(1 << place for place in places)


BASE = 0x9E3779B97F4A7C15


@pytest.mark.parametrize(("differing", "found"), [(6, 1), (12, 1), (13, 0)])
def test_hashes_of_candidates_differ_in_twelve_bits(differing, found):
    first, second, distance, left_out = near_duplicates.candidates(
        hashes(BASE, BASE ^ bits(*range(20, 20 + differing)))
    )
    assert (first.tolist(), second.tolist(), distance.tolist()) == ([0] * found, [1] * found, [differing] * found)
    assert len(left_out) == 0


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ((16, 45, 47, 62), 1),
        ((2, 11, 32, 63), 1),
        ((3, 9, 23, 48), 1),
        ((4, 18, 29, 43), 1),
        ((2, 16, 43, 49), 0),
        ((1, 18, 35, 48), 0),
        ((0, 16, 32, 48), 1),
    ],
)
def test_candidates_share_a_quarter_of_their_bits(places, found):
    """One of four runs of 16, as the bits are or with every fourth together; here 4 bits differ."""
    first, second, distance, _ = near_duplicates.candidates(hashes(BASE, BASE ^ bits(*places)))
    assert (first.tolist(), second.tolist(), distance.tolist()) == ([0] * found, [1] * found, [4] * found)


@pytest.mark.parametrize(("members", "left_out"), [(256, []), (257, [256])])
def test_256_members_of_a_group_are_compared(members, left_out):
    upper = np.random.default_rng(0).integers(1, 1 << 47, members, dtype=np.uint64)
    assert near_duplicates.candidates(hashes(*(int(one) << 16 | 77 for one in upper)))[3].tolist() == left_out


@pytest.mark.parametrize(
    ("more", "kept"),
    [((), {0: 4, 1: 4, 2: 4}), ((17,), {1: 4, 2: 4, 3: 4})],
)
def test_the_three_closest_of_a_group_are_kept_of_equal_ones_the_first(more, kept):
    """All share 16 bits, and no others; the first may differ in one more bit."""
    others = [BASE ^ bits(16 + i, 33 + i, 50 + i, 51 + i) for i in (0, 4, 8, 12)]
    others[0] ^= bits(*more)
    first, second, distance, _ = near_duplicates.candidates(hashes(*others, BASE))
    last = second == 4
    assert dict(zip(first[last].tolist(), distance[last].tolist(), strict=True)) == kept


def test_rows_are_expanded_in_ranges_that_end_with_the_last():
    assert list(near_duplicates._chunks(np.array([1, 2, 5]))) == [(0, 3)]
    assert list(near_duplicates._chunks(np.array([1, 1 << 22, (1 << 22) + 1, 1 << 24]))) == [(0, 2), (2, 3), (3, 4)]
    assert list(near_duplicates._chunks(np.zeros(0, np.int64))) == []


@pytest.mark.parametrize(
    ("contents", "content", "identity", "groups"),
    [
        ((b"a", b"a"), (1, 1), (0, 0), [[0, 1]]),
        ((b"a", b"b"), (1, 1), (0, 0), []),
        ((b"a", b"a"), (0, 0), (0, 0), []),
        ((b"", b""), (7, 7), (0, 0), []),
        ((b"a", b"a"), (7, 7), (5, 5), []),
        ((b"a", b"a"), (7, 7), (1, 2), [[0, 1]]),
        ((b"a", b"b", b"a", b"b", b"a"), (7,) * 5, (0,) * 5, [[0, 2, 4], [1, 3]]),
    ],
)
def test_files_of_one_byte_can_be_equal_and_empty_ones_are_not(contents, content, identity, groups):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(i)) for i in range(len(contents))]
        for file, own in zip(files, contents, strict=True):
            file.write_bytes(own)
        table = SimpleNamespace(
            files=[str(file) for file in files],
            content=np.array(content, np.uint64),
            size=np.array([len(own) for own in contents]),
            identity=np.array(identity),
        )
        assert near_duplicates.same_groups(table) == groups
