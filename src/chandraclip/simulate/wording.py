"""The wordings that `texts` chooses from; words only, no logic."""

from __future__ import annotations

CLASS_SENTENCES = (
    "The object is identified as {kind}.",
    "It is classified as {kind}.",
    "Follow-up work established that it is {kind}.",
    "The authors argue that this source is {kind}.",
    "Spectroscopy confirmed the suggestion that this is {kind}.",
    "The source is widely accepted to be {kind}.",
    "Its properties are those of {kind}.",
)
CLASS_PHRASES = {
    "AGN": (
        "an active galactic nucleus",
        "a broad-line quasar",
        "a Seyfert galaxy",
        "a type 2 AGN",
        "a distant QSO",
        "an accreting supermassive black hole",
    ),
    "CV": (
        "a cataclysmic variable",
        "an intermediate polar",
        "a polar, a magnetic white dwarf binary",
        "a dwarf nova",
        "an accreting white dwarf",
    ),
    "HM-STAR": (
        "a massive star of spectral type O",
        "an early-type B star",
        "a Wolf-Rayet star",
        "a colliding-wind binary of two massive stars",
        "an OB supergiant",
    ),
    "HMXB": (
        "a high-mass X-ray binary",
        "a supergiant X-ray binary",
        "a Be/X-ray binary",
        "a wind-accreting neutron star with an OB companion",
        "a supergiant fast X-ray transient",
    ),
    "LM-STAR": (
        "a late-type star",
        "an active M dwarf",
        "a coronally active K star",
        "a nearby G dwarf with a hot corona",
        "an RS CVn-type active binary",
    ),
    "LMXB": (
        "a low-mass X-ray binary",
        "a quiescent neutron-star binary with a low-mass donor",
        "a black-hole X-ray transient",
        "an accreting neutron star in a globular cluster",
        "an X-ray burster",
    ),
    "NS": (
        "an isolated neutron star",
        "a rotation-powered pulsar",
        "a magnetar",
        "a young pulsar with a wind nebula",
        "a central compact object of a supernova remnant",
    ),
    "YSO": (
        "a young stellar object",
        "a T Tauri star",
        "a pre-main-sequence star",
        "a class II young star with a disc",
        "an embedded protostar",
    ),
}

CONTEXT_SENTENCES = (
    "The counterpart is {context}.",
    "Positional matching gives {context}.",
    "Optical and infrared data show {context}.",
    "It is associated with {context}.",
)
CONTEXT_PHRASES = {
    "AGN": (
        "a faint galaxy at high Galactic latitude",
        "a blue point-like object with broad emission lines",
        "the nucleus of a spiral galaxy",
        "a mid-infrared source with AGN colours in a deep survey field",
        "a flat-spectrum radio source",
    ),
    "CV": (
        "a blue variable star with Balmer and He II emission",
        "a faint ultraviolet-bright object with outbursts",
        "a short-period binary with strong emission lines",
    ),
    "HM-STAR": (
        "a luminous hot star in an OB association",
        "an ionising star of a massive young cluster",
        "a bright star with P Cygni profiles",
    ),
    "HMXB": (
        "a reddened supergiant in the Galactic plane",
        "a Be star with H-alpha emission",
        "a bright early-type star in a spiral arm",
    ),
    "LM-STAR": (
        "a nearby high proper-motion star",
        "a bright late-type star with calcium emission",
        "a field star with a measured parallax",
    ),
    "LMXB": (
        "a faint red star towards the Galactic bulge",
        "a globular cluster core",
        "a faint counterpart with a disc spectrum",
    ),
    "NS": (
        "no optical object down to deep limits",
        "a radio pulsar in the Galactic plane",
        "a supernova remnant with a compact nebula",
        "a gamma-ray source",
    ),
    "YSO": (
        "a member of a star-forming region",
        "a star with infrared excess in a molecular cloud",
        "a reddened member of a young cluster in a nebula",
    ),
}

# Half a decade each, from log flux -15 up.
BRIGHTNESS = (
    "extremely faint",
    "very faint",
    "faint",
    "rather faint",
    "of moderate brightness",
    "fairly bright",
    "bright",
    "very bright",
    "among the brightest of its field",
)
FLUX_PHRASES = (
    "It is {level} in X-rays, with an observed flux of about {flux} erg/cm2/s in 0.5-7 keV.",
    "Earlier observations found a source {level}, at {flux} erg/s/cm2.",
    "The X-ray flux reported is {flux} erg cm-2 s-1 ({level}).",
    "The source was {level}; the broad-band flux was {flux} erg/s/cm2.",
    "A mean flux of {flux} erg/s/cm2 makes it {level}.",
)
# Half a decade each, from log NH 20 up.
ABSORPTION = (
    "negligible",
    "low",
    "small",
    "modest",
    "moderate",
    "substantial",
    "heavy",
    "very heavy",
    "extreme",
)
COLUMN_PHRASES = (
    "Absorption is {level}, with N_H = {nh} cm-2.",
    "Fits require {level} absorption by a hydrogen column density of {nh} cm-2.",
    "The spectrum shows {level} absorption, N_H of {nh} cm^-2.",
    "Photoelectric absorption is {level}: {nh} H atoms per cm2.",
    "An equivalent column NH {nh} cm-2 was derived, which is {level} absorption.",
)
# By photon index; the limits stand in `texts`.
SLOPES = ("very flat", "flat", "rather flat", "typical", "steep", "very steep")
GAMMA_PHRASES = (
    "The continuum is a {level} power law of photon index {gamma}.",
    "An absorbed power law with Gamma = {gamma}, {level} for its kind, describes the spectrum.",
    "The photon index is {gamma} ({level}).",
    "Spectral fitting gives a {level} Gamma of {gamma}.",
    "The spectrum is non-thermal, with a {level} slope of {gamma}.",
)
TEMPERATURE_PHRASES = {
    "blackbody": (
        "A blackbody of kT = {kt} keV fits the spectrum.",
        "The emission is thermal, from a surface at kT {kt} keV.",
        "The dominant component is blackbody-like with a temperature of {kt} keV.",
    ),
    "thermal": (
        "The spectrum is that of an optically thin plasma at kT = {kt} keV.",
        "Thermal plasma models give a temperature of {kt} keV.",
        "A hot plasma with kT {kt} keV and emission lines is required.",
        "The coronal or shock temperature is {kt} keV.",
    ),
}
# From very soft to very hard.
COLOUR_PHRASES = (
    (
        "The spectrum is very soft, with hardly any photons above 2 keV.",
        "Hardness ratios are extremely soft.",
        "Nearly all counts are below 1.2 keV.",
    ),
    ("The X-ray colours are soft.", "The spectrum is soft.", "Most of the emission is below 2 keV."),
    (
        "The X-ray colours are intermediate.",
        "The spectrum is neither soft nor hard.",
        "Soft and hard bands contribute comparably.",
    ),
    ("The spectrum is hard.", "The X-ray colours are hard.", "Most of the energy is emitted above 2 keV."),
    (
        "The spectrum is very hard and strongly absorbed.",
        "Hardly any soft photons are detected.",
        "The source is detected almost only in the hard band.",
    ),
)
CONSTANT_PHRASES = (
    "No significant variability was found.",
    "The light curve is consistent with a constant rate.",
    "The source is steady within each observation.",
    "Short-term variability is not detected.",
)
FLARE_PHRASES = (
    "Strong flares with a fast rise and slow decay were seen.",
    "It flared by a large factor within hours.",
    "The light curve shows impulsive flaring.",
    "Flares lasting a few kiloseconds dominate the variability.",
)
DIP_PHRASES = {
    "single": (
        "Irregular dips in the light curve are reported.",
        "The flux dropped for part of an observation, as by an obscuring cloud.",
        "A transient dip was observed.",
    ),
    "periodic": (
        "Eclipses recur every {period}.",
        "Dips repeat at the orbital period of {period}.",
        "The light curve shows eclipses with a period of {period}.",
    ),
}
PERIOD_PHRASES = {
    "single": ("The rate is modulated.",),
    "periodic": (
        "A coherent modulation at {period} is detected.",
        "Pulsations with a period of {period} were discovered.",
        "The X-ray flux is periodic at {period}.",
    ),
}

HYPOTHESIS_SENTENCES = (
    "The source is useful for testing {hypothesis}.",
    "These data constrain {hypothesis}.",
    "It can be used to study {hypothesis}.",
    "The authors discuss {hypothesis}.",
    "Further observations would test {hypothesis}.",
)
HYPOTHESES = {
    "AGN": (
        "the growth of supermassive black holes and the obscured fraction of active galaxies",
        "models of the corona above an accretion disc",
        "unified schemes in which orientation sets the absorption",
        "the origin of the cosmic X-ray background",
    ),
    "CV": (
        "the accretion column and the mass of magnetic white dwarfs",
        "the contribution of white dwarf binaries to the Galactic ridge emission",
        "the period distribution and evolution of compact binaries",
    ),
    "HM-STAR": (
        "shocks embedded in radiatively driven stellar winds",
        "wind collision and magnetic confinement in massive stars",
        "the relation of X-ray to bolometric luminosity of hot stars",
    ),
    "HMXB": (
        "clumpy wind accretion on to a magnetised neutron star",
        "the spin equilibrium of accreting pulsars",
        "the link between young X-ray binaries and star formation",
    ),
    "LM-STAR": (
        "the dynamo and the decline of coronal activity with rotation and age",
        "coronal heating and flare statistics of cool stars",
        "the irradiation of planets by their host's corona",
    ),
    "LMXB": (
        "accretion at very low rates and the state transitions of transients",
        "the equation of state through the cooling of a heated neutron star",
        "the dynamical formation of binaries in dense clusters",
    ),
    "NS": (
        "neutron star cooling and the equation of state of dense matter",
        "particle acceleration in pulsar magnetospheres and wind nebulae",
        "the decay of very strong magnetic fields",
    ),
    "YSO": (
        "magnetic reconnection between a young star and its disc",
        "the ionisation of protoplanetary discs by stellar X-rays",
        "accretion and coronal activity before the main sequence",
    ),
}
