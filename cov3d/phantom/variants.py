"""Difficult kinds of scan, each of which is rare in real data.

A variant changes the random parameters of an ordinary scan (person, findings, acquisition), or the finished slices
(`finishes`). The drawing of slices stays the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cov3d.phantom.acquire import Acquisition
from cov3d.phantom.anatomy import Person
from cov3d.phantom.lesions import Findings
from cov3d.phantom.rig import draw_blankets, draw_hard_table


@dataclass(frozen=True)
class Drawn:
    """The random parameters of one scan.

    Attributes:
        arms: whether the arms lie beside the chest.
        full_stomach: whether the stomach is large and full of gas.
    """

    person: Person
    findings: Findings
    acquisition: Acquisition
    arms: bool = False
    full_stomach: bool = False


def _frame(drawn: Drawn, **changes: object) -> Drawn:
    frame = replace(drawn.acquisition.frame, **changes)  # type: ignore[arg-type]
    return replace(drawn, acquisition=replace(drawn.acquisition, frame=frame))


def _reach(drawn: Drawn, top: float, bottom: float, rng: np.random.Generator) -> Drawn:
    """Slices of unchanged thickness from `top` to `bottom`, which are shares of the lungs' height."""
    frame, height = drawn.acquisition.frame, drawn.person.height
    count = max(12, round((bottom - top) * height / frame.thickness))
    z = (top * height + (np.arange(count) + 0.5) * frame.thickness).astype(np.float32)
    return _frame(drawn, z=z)


def _cut_sides(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return _frame(drawn, fov=2 * drawn.person.width * float(rng.uniform(0.78, 0.97)))


def _shifted(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    fov = 2 * drawn.person.width * float(rng.uniform(1.1, 1.3))
    side = 1 if rng.random() < 0.5 else -1
    return _frame(
        drawn, fov=fov, shift=(side * float(rng.uniform(0.15, 0.25)) * fov, float(rng.uniform(-0.08, 0.08)) * fov)
    )


def _small(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return _frame(drawn, fov=float(rng.uniform(600, 800)), shift=tuple(rng.uniform(-120, 120, 2).tolist()))


def _round(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    changed = _frame(drawn, fov=2 * drawn.person.width * float(rng.uniform(0.9, 1.1)))
    return replace(changed, acquisition=replace(changed.acquisition, padding=True))


def _arms(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    person = drawn.person
    fov = 2 * (1.2 * person.width + person.fat) + float(rng.uniform(120, 200))
    return replace(_frame(drawn, fov=fov), arms=True)


def _prone(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    frame = drawn.acquisition.frame
    return _frame(drawn, roll=frame.roll + float(np.pi))


def _tilted(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    side, frame = (1 if rng.random() < 0.5 else -1), drawn.acquisition.frame
    wide = max(frame.fov, 2 * (1.2 * drawn.person.width + drawn.person.fat) * 1.15)
    if rng.random() < 0.6:
        return _frame(drawn, roll=side * float(np.deg2rad(20)), fov=wide)
    return _frame(drawn, lean=side * float(np.tan(np.deg2rad(20))), fov=wide * 1.1)


def _noisy(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return replace(drawn, acquisition=replace(drawn.acquisition, noise=float(rng.uniform(70, 130)), grain=0.8))


def _thick(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    z = drawn.acquisition.frame.z
    return _frame(drawn, z=np.arange(float(z[0]), float(z[-1]), 10.0, dtype=np.float32), thickness=10.0)


def _one_missing(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    depths = (2.6, 0.0) if rng.random() < 0.5 else (0.0, 2.6)
    return replace(drawn, findings=replace(drawn.findings, effusion=depths))


def _one_white(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return replace(drawn, findings=replace(drawn.findings, white="right" if rng.random() < 0.5 else "left"))


def _child(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    share = float(rng.uniform(0.45, 0.7))
    person, frame = drawn.person, drawn.acquisition.frame
    small = replace(
        person,
        female=False,
        breast=0.0,
        width=share * person.width,
        depth=share * person.depth * float(rng.uniform(1.0, 1.12)),
        height=share * person.height * 0.9,
        fat=0.5 * person.fat,
        kyphosis=share * person.kyphosis,
        rib_pitch=share * person.rib_pitch,
        rib_drop=share * person.rib_drop,
        left_lower=share * person.left_lower,
    )
    z = frame.z * np.float32(share)
    changed = replace(drawn, person=small)
    return _frame(
        changed,
        fov=share * frame.fov * float(rng.uniform(1.0, 1.5)),
        z=z,
        thickness=float(frame.thickness * share),
        pivot=0.5 * small.height,
    )


def _consolidated(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    findings = replace(
        drawn.findings,
        involvement=float(rng.uniform(0.34, 0.86)),
        dense=float(rng.uniform(0.90, 0.98)),
        back=float(rng.uniform(0.5, 1.6)),
        base=float(rng.uniform(0.4, 1.6)),
        periphery=float(rng.uniform(0.2, 1.4)),
        patch=float(rng.uniform(12, 28)),
    )
    return replace(drawn, findings=findings)


def _dark(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    person = replace(drawn.person, lung=float(rng.uniform(-945, -915)), gradient=float(rng.uniform(5, 25)))
    gas = float(rng.uniform(0, 60))
    return replace(
        drawn,
        person=person,
        findings=replace(drawn.findings, holes=float(rng.uniform(20, 60))),
        acquisition=replace(drawn.acquisition, gas=gas),
    )


def _thin_wall(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    thin = replace(
        drawn.person, female=False, breast=0.0, fat=float(rng.uniform(0.3, 1.5)), wall=float(rng.uniform(0.25, 0.45))
    )
    return replace(drawn, person=thin)


def _hard_table(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    table = draw_hard_table(rng)
    wide = max(drawn.acquisition.frame.fov, 2 * (1.2 * drawn.person.width + drawn.person.fat) * 1.15)
    return _frame(replace(drawn, acquisition=replace(drawn.acquisition, table=table, padding=False)), fov=wide)


def _blankets(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    wide = 2 * (1.2 * drawn.person.width + drawn.person.fat) * float(rng.uniform(1.1, 1.4))
    changed = replace(drawn, acquisition=replace(drawn.acquisition, blankets=draw_blankets(rng), padding=False))
    return _frame(changed, fov=wide)


def _in_a_thin_patient(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return replace(_blankets(_hard_table(_thin_wall(drawn, rng), rng), rng), full_stomach=True)


def _within_the_chest(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    changed = _frame(drawn, fov=2 * drawn.person.width * float(rng.uniform(0.6, 0.8)))
    return replace(changed, acquisition=replace(changed.acquisition, padding=False))


def _bars(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    changed = _frame(drawn, fov=2 * drawn.person.width * float(rng.uniform(0.85, 1.2)))
    return replace(changed, acquisition=replace(changed.acquisition, padding=False))


def _full_stomach(drawn: Drawn, rng: np.random.Generator) -> Drawn:
    return replace(_reach(drawn, -0.15, float(rng.uniform(1.2, 1.6)), rng), full_stomach=True)


Change = Callable[[Drawn, np.random.Generator], Drawn]

VARIANTS: dict[str, Change] = {
    "consolidated": _consolidated,
    "lungs cut at the sides": _cut_sides,
    "shifted field of view": _shifted,
    "small in a wide field of view": _small,
    "round field of view": _round,
    "arms beside the chest": _arms,
    "prone": _prone,
    "tilted by 20 degrees": _tilted,
    "upside down": lambda drawn, rng: drawn,
    "noisy": _noisy,
    "10 mm slices": _thick,
    "one lung missing": _one_missing,
    "one lung white": _one_white,
    "cut off above": lambda drawn, rng: _reach(drawn, float(rng.uniform(0.15, 0.4)), 1.2, rng),
    "cut off below": lambda drawn, rng: _reach(drawn, -0.2, float(rng.uniform(0.55, 0.8)), rng),
    "bases only": lambda drawn, rng: _reach(drawn, float(rng.uniform(0.55, 0.72)), 1.5, rng),
    "no lungs": lambda drawn, rng: _reach(drawn, 1.12, 2.2, rng),
    "neck and abdomen": lambda drawn, rng: _reach(
        drawn, float(rng.uniform(-0.9, -0.6)), float(rng.uniform(1.7, 2.1)), rng
    ),
    "child": _child,
    "dark lungs": _dark,
    "feet first": lambda drawn, rng: drawn,
    "thin chest wall": _thin_wall,
    "hard table": _hard_table,
    "blankets": _blankets,
    "thin, blankets, hard table": _in_a_thin_patient,
    "field of view within the chest": _within_the_chest,
    "bars": _bars,
    "low resolution": lambda drawn, rng: drawn,
    "stomach full of gas": _full_stomach,
}
"""The functions for all difficult kinds, by name."""

SICK = ("consolidated", "one lung white")
"""Kinds that are made from a COVID-19 scan."""
