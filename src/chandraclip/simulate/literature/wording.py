"""The wordings that `texts` chooses from, class by class in `wording_classes`; words only, no logic."""

from __future__ import annotations

CLASS_SENTENCES = (
    "The object is identified as {kind}.",
    "It is classified as {kind}.",
    "Follow-up work established that it is {kind}.",
    "The authors argue that this source is {kind}.",
    "Spectroscopy confirmed the suggestion that this is {kind}.",
    "It is widely accepted to be {kind}.",
    "Its properties are those of {kind}.",
    "The X-ray and optical data together point to {kind}.",
    "The papers treat it as {kind}.",
    "It is a well-studied case of {kind}.",
    # tentative
    "It is a candidate only, most likely {kind}.",
    "The nature is uncertain, although {kind} is favoured.",
    "A statistical classification suggests {kind}.",
    "The simplest explanation is {kind}, though others are not excluded.",
)
CONTEXT_SENTENCES = (
    "The counterpart is {context}.",
    "Positional matching gives {context}.",
    "Optical and infrared data show {context}.",
    "It is associated with {context}.",
    "At other wavelengths the position coincides with {context}.",
    "The X-ray position agrees with {context}.",
    "Deep images reveal {context}.",
)
# {mission} is e.g. "XMM-Newton".
METHOD_SENTENCES = (
    "The results rest on archival {mission} data.",
    "It was detected serendipitously with {mission}.",
    "The analysis combines several {mission} observations.",
    "A pointed {mission} observation provided the best spectrum.",
    "The position was refined with Chandra to better than an arcsecond.",
    "The spectrum was extracted from {mission} data and grouped to allow chi-squared fits.",
    "A joint fit with {mission} data was made.",
    "Few counts were collected, so the fits used the Cash statistic.",
)

# Half a decade each, from log flux -15 up.
BRIGHTNESS = (
    "extremely faint",
    "very faint",
    "faint",
    "rather faint",
    "moderately bright",
    "fairly bright",
    "bright",
    "very bright",
    "exceptionally bright",
)
FLUX_SENTENCES = (
    "It is {level} in X-rays{when}, with an observed {band} keV flux of {flux}.",
    "Earlier {mission} observations found {a_level} source{when}, at {flux} ({band} keV).",
    "The {band} keV flux reported{when} is {flux}, which is {level}.",
    "The source was {level}{when}; the {band} keV flux from {mission} was {flux}.",
    "A {band} keV flux of {flux} makes it {a_level} source{when}.",
    "{mission} measured an absorbed {band} keV flux of {flux}{when}; the source is {level}.",
    "In {mission} data it appears as {a_level} source{when} with F({band} keV) = {flux}.",
    "The observed flux ({band} keV) was {flux}{when}.",
    "It is {a_level} {mission} source{when} with a flux of {flux} in the {band} keV band.",
    "Fluxes given in different papers cluster around {flux} in the {band} keV band, {level}{when}.",
)
FLUX_WORDS = (
    "It is {a_level} X-ray source{when}, but no flux is quoted.",
    "The source was {level}{when}.",
    "Only a count rate is given, that of {a_level} source{when}.",
    "{mission} saw {a_level} source{when}; no flux is stated.",
)
FLUX_UNITS = ("erg/s/cm2", "erg/cm2/s", "erg cm^-2 s^-1", "erg s^-1 cm^-2", "erg cm-2 s-1")
# When the literature looked, by long-term behaviour: fainter than the mean, brighter than the mean.
EPOCHS = {
    "states": ((" in a low state", " during a faint state"), (" in a high state", " during a bright state")),
    "flares": ((" at a quiet epoch", " in quiescence"), (" during a bright episode", " at the time of an outburst")),
    "decay": ((" at a late epoch", " well after the peak"), (" soon after the discovery", " at an early epoch")),
    "red_noise": ((" at a faint epoch",), (" at a bright epoch",)),
}

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
COLUMN_SENTENCES = (
    "Absorption is {level}, with N_H = {nh}.",
    "Fits require {level} absorption by a hydrogen column density of {nh}.",
    "The spectrum shows {level} absorption, N_H = {nh}.",
    "Photoelectric absorption is {level}, with an equivalent column N_H = {nh}.",
    "The derived hydrogen column N_H = {nh} corresponds to {level} absorption.",
    "A column density of {nh} was derived, that is, {level} absorption.",
    "The best-fitting N_H is {nh}.",
    "The total line-of-sight column of {nh} implies {level} absorption.",
    "Published columns agree on {level} absorption, typically {nh}.",
)
COLUMN_LOGARITHMS = (
    "Absorption is {level}, with log N_H = {value}.",
    "A column of log N_H = {value} (cm^-2) is inferred, a sign of {level} absorption.",
)
COLUMN_LIMITS = (
    "No absorption is required; N_H < {limit}.",
    "Absorption is {level}, with only an upper limit of N_H < {limit}.",
    "The column is constrained to N_H < {limit}, {level} at most.",
)
COLUMN_RANGES = (
    "Absorption is {level}; N_H lies between {low} and {high}, depending on the model.",
    "Different papers give columns between {low} and {high}, {level} in any case.",
)
COLUMN_WORDS = (
    "Absorption is {level}, although no column is quoted.",
    "The authors describe the absorption as {level}.",
    "The low-energy spectrum indicates {level} absorption.",
)

# By photon index; the limits stand in `texts`.
SLOPES = ("very flat", "flat", "rather flat", "moderate", "steep", "very steep")
GAMMA_SENTENCES = (
    "The continuum is a {level} power law of photon index {gamma}.",
    "An absorbed power law with Gamma = {gamma}, a {level} slope, describes the spectrum.",
    "The photon index is {gamma} ({level}).",
    "Spectral fitting gives a {level} slope, Gamma = {gamma}.",
    "The spectrum is non-thermal, with a {level} photon index of {gamma}.",
    "A power law with photon index {gamma} is an acceptable fit.",
    "{mission} spectra are fitted by a {level} power law, Gamma = {gamma}.",
    "The X-ray spectrum follows a power law whose photon index, {gamma}, is {level}.",
)
GAMMA_WORDS = (
    "The continuum is a {level} power law.",
    "A {level} power law describes the spectrum well, but its index is not tabulated.",
    "Power-law fits are preferred over thermal models, with a {level} slope.",
)
# By temperature; the limits stand in `texts`.
HEAT = {
    "blackbody": ("very soft", "soft", "moderately soft", "hot"),
    "diskbb": ("very cool", "cool", "warm", "hot"),
    "bremsstrahlung": ("cool", "moderately hot", "hot", "very hot"),
    "plasma": ("cool", "moderately hot", "hot", "very hot"),
}
TEMPERATURE_SENTENCES = {
    "blackbody": (
        "A {level} blackbody of kT = {kt} fits the spectrum.",
        "The emission is thermal and {level}, from a surface with kT = {kt}.",
        "The dominant component is a {level} blackbody with a temperature of {kt}.",
        "The spectrum is {level} and well described by a blackbody, kT = {kt}.",
        "{mission} spectra are fitted by a {level} blackbody with kT = {kt}.",
    ),
    "diskbb": (
        "A multicolour disc blackbody, {level} with kT_in = {kt}, fits the spectrum.",
        "The spectrum is that of {a_level} accretion disc with an inner temperature of {kt}.",
        "Disc-blackbody models describe the continuum, {level} with kT_in = {kt}.",
        "The emission is dominated by {a_level} disc component with kT = {kt}.",
    ),
    "bremsstrahlung": (
        "The continuum is thermal bremsstrahlung of {a_level} gas, kT = {kt}.",
        "A bremsstrahlung model with kT = {kt} fits, meaning {a_level} gas.",
        "The spectrum is fitted by thermal bremsstrahlung with a {level} temperature of {kt}.",
    ),
    "plasma": (
        "The spectrum is that of {a_level}, optically thin plasma with kT = {kt}.",
        "Thermal plasma models give a temperature of {kt}, {level} for such gas.",
        "{a_level_start} plasma with kT = {kt} and emission lines is required.",
        "An APEC model fits with {a_level} component of kT = {kt}.",
        "Emission lines show the gas to be thermal and {level}, with kT = {kt}.",
        "A collisionally ionised plasma at a temperature of {kt} reproduces the spectrum.",
    ),
}
TEMPERATURE_LIMITS = (
    "The spectrum is thermal and {level}; only a lower limit kT > {limit} keV could be set.",
    "Thermal models need {a_level} gas with kT > {limit} keV.",
)
TEMPERATURE_WORDS = {
    "blackbody": (
        "The spectrum is {level} and blackbody-like.",
        "A {level} blackbody is preferred, without a quoted temperature.",
    ),
    "diskbb": (
        "The continuum resembles {a_level} multicolour disc.",
        "A {level} disc spectrum is preferred, without details.",
    ),
    "bremsstrahlung": (
        "The continuum resembles thermal bremsstrahlung of {a_level} gas.",
        "A {level} thermal continuum is reported.",
    ),
    "plasma": (
        "The spectrum is thermal, from {a_level} plasma.",
        "Line emission shows {a_level}, optically thin plasma.",
    ),
}
SECOND_SENTENCES = {
    "powerlaw": (
        "A power-law component with photon index {gamma} is also needed.",
        "There is a hard tail, a power law of Gamma = {gamma}.",
    ),
    "blackbody": ("A blackbody component with kT = {kt} is also needed.", "A soft excess is fitted with kT = {kt}."),
    "diskbb": ("A disc component with kT_in = {kt} is also needed.", "The soft part requires a disc of kT = {kt}."),
    "bremsstrahlung": ("A thermal component with kT = {kt} improves the fit.",),
    "plasma": (
        "Thermal plasma with kT = {kt} contributes as well.",
        "Superposed line emission indicates gas with kT = {kt}.",
    ),
}
SECOND_WORDS = {
    "powerlaw": ("A power-law component is also present.", "An additional non-thermal component is required."),
    "blackbody": ("A blackbody component is also required.", "Residuals call for an additional blackbody."),
    "diskbb": ("A disc component is also present.",),
    "bremsstrahlung": ("An additional thermal component is present.",),
    "plasma": ("A further plasma component is required.", "Fits need plasma at more than one temperature."),
}

# From very soft to very hard.
COLOUR_SENTENCES = (
    (
        "The spectrum is very soft, with hardly any photons above 2 keV.",
        "Hardness ratios are extremely soft.",
        "Nearly all counts are at low energies.",
        "Essentially no hard emission is seen.",
    ),
    (
        "The X-ray colours are soft.",
        "The spectrum is soft.",
        "Most of the emission is below 2 keV.",
        "It is clearly brighter in the soft band than in the hard band.",
    ),
    (
        "The X-ray colours are intermediate.",
        "The spectrum is neither soft nor hard.",
        "Soft and hard bands contribute comparably.",
        "The hardness ratio is close to the middle of its range.",
    ),
    (
        "The spectrum is hard.",
        "The X-ray colours are hard.",
        "Most of the energy is emitted above 2 keV.",
        "It stands out by its hard X-ray colour.",
    ),
    (
        "The spectrum is very hard.",
        "Hardly any soft photons are detected.",
        "It is detected almost only in the hard band.",
        "Hardness ratios are extremely hard.",
    ),
)
COLOUR_NUMBERS = (
    "About {percent} per cent of the observed flux emerges above 2 keV.",
    "The hard band (above 2 keV) holds roughly {percent} per cent of the energy.",
)

# Within an observation; with a period under "periodic".
VARIABILITY_SENTENCES = {
    "constant": (
        "No significant variability was found within the observations.",
        "The light curve is consistent with a constant rate.",
        "It is steady within each observation.",
        "Short-term variability is not detected.",
        "A Kolmogorov-Smirnov test finds no variability.",
    ),
    "red_noise": (
        "The light curve shows aperiodic variability on time-scales of hours.",
        "Stochastic short-term variability with red-noise character is reported.",
        "It flickers irregularly within observations, without any period.",
        "The power spectrum rises towards low frequencies, as red noise does.",
    ),
    "flare": (
        "Strong flares with a fast rise and slow decay were seen.",
        "It flared by a large factor within hours.",
        "The light curve shows impulsive flaring.",
        "Flares lasting a few kiloseconds dominate the variability.",
        "A flare was caught, with the spectrum hardening at its peak.",
    ),
    "dip": (
        "Irregular dips in the light curve are reported.",
        "The flux dropped for part of an observation, as if by an obscuring cloud.",
        "A transient dip was observed.",
        "Episodes of reduced flux last about an hour.",
    ),
    "eclipse": (
        "The flux vanished abruptly for part of an observation, as in an eclipse.",
        "A single eclipse, with sharp ingress and egress, was seen.",
        "An eclipse-like event is reported, without a second one to fix a period.",
    ),
    "pulsation": (
        "The emission is modulated, but no precise period is quoted.",
        "A periodic modulation is suspected.",
        "There is marginal evidence for a periodic signal.",
    ),
    "eruption": (
        "Repeated soft X-ray eruptions interrupt a low quiescent level.",
        "It shows large-amplitude eruptions of short duration.",
        "Short, recurrent bursts of soft emission are reported.",
    ),
    "transient": (
        "It appeared suddenly within one observation and faded again.",
        "The emission rose from nothing and decayed within hours.",
        "It is a transient, undetected both before and after the outburst.",
        "A single burst of emission is all that was seen.",
    ),
}
PERIODIC_SENTENCES = {
    "dip": (
        "Dips repeat with a period of {period}.",
        "Recurrent absorption dips are seen every {period}, presumably the orbital period.",
    ),
    "eclipse": (
        "Eclipses recur every {period}.",
        "The light curve shows eclipses with a period of {period}.",
        "Total X-ray eclipses fix an orbital period of {period}.",
    ),
    "eruption": (
        "Quasi-periodic eruptions recur about every {period}.",
        "Soft eruptions repeat with a recurrence time near {period}.",
    ),
}
# A "pulsation" is called by what such an object does.
PULSATION_SENTENCES = {
    "spin": (
        "Pulsations with a period of {period} were discovered.",
        "A coherent signal at {period} is attributed to the spin.",
        "The pulse period is {period}.",
        "The X-ray flux is pulsed at {period}, with a pulsed fraction of tens of per cent.",
    ),
    "rotation": (
        "The flux is modulated with a period of {period}, probably by rotation.",
        "A periodic signal at {period} is attributed to rotational modulation.",
        "The X-ray light curve repeats with a period of {period}.",
    ),
    "other": (
        "A periodic modulation at {period} is claimed.",
        "The X-ray flux is modulated with a period of {period}.",
    ),
}

# Between observations; {factor} is the ratio of the extremes.
LONG_TERM_SENTENCES = {
    "steady": (
        "The flux agrees between epochs years apart.",
        "No long-term change is found between missions.",
        "It is a stable source over years, within the uncertainties.",
        "Repeated observations give the same flux.",
    ),
    "red_noise": (
        "Between epochs the flux varied by a factor of about {factor}.",
        "Its flux changes irregularly over years, by up to a factor of {factor}.",
        "Long-term variability with an amplitude of a factor of {factor} is reported.",
    ),
    "states": (
        "It alternates between high and low states that differ by a factor of about {factor}.",
        "State changes with flux ratios of about a factor of {factor} are known.",
        "Monitoring shows two flux levels a factor of {factor} apart.",
    ),
    "flares": (
        "Outbursts up to a factor of {factor} above the lowest level have been recorded.",
        "It brightens occasionally, by up to a factor of {factor} from epoch to epoch.",
        "Archival data show bright episodes a factor of {factor} above quiescence.",
    ),
    "decay": (
        "It has faded by a factor of about {factor} since the discovery.",
        "Successive observations show a decline by a factor of {factor}.",
        "The flux decayed by a factor of {factor} over the years.",
    ),
}
LONG_TERM_RANGES = (
    "Published fluxes range from {low} to {high}.",
    "Over the years the flux was found anywhere between {low} and {high}.",
)
LONG_TERM_WORDS = (
    "Long-term variability is mentioned without an amplitude.",
    "Its flux differs between epochs.",
)

REDSHIFT_SENTENCES = (
    "The {origin} redshift is z = {redshift}.",
    "It lies at {origin} redshift z = {redshift}.",
    "A {origin} redshift of z = {redshift} is adopted.",
)
DISTANCE_SENTENCES = (
    "The distance is about {distance}.",
    "A distance of {distance} is adopted.",
    "Parallax or extinction arguments put it at {distance}.",
)
HOST_DISTANCE_SENTENCES = (
    "The host galaxy is at a distance of about {distance}.",
    "A distance of {distance} to the galaxy is adopted.",
)
LUMINOSITY_SENTENCES = (
    "At {place} the {band} keV luminosity is {luminosity}.",
    "The luminosity is {luminosity} ({band} keV) for {place}.",
    "For {place}, L({band} keV) = {luminosity}.",
    "Assuming {place}, the authors derive a {band} keV luminosity of {luminosity}.",
)
LUMINOSITY_UNITS = ("erg/s", "erg s^-1", "erg s-1")

# Papers about something else that contains the source.
CATALOGUE_SENTENCES = (
    "The source is one of many in a catalogue of {field}, listed with position and count rate.",
    "It appears in a table of X-ray detections from a study of {field}, without individual discussion.",
    "The only paper is a catalogue covering {field}; it gives detection significance and little else.",
    "A survey of {field} lists this detection among several hundred others.",
)
SURROUNDINGS_SENTENCES = (
    "The literature concerns {field} as a whole, and the X-ray emission is mentioned only in passing.",
    "The papers deal with {context} rather than with the X-ray source.",
    "Most of the text describes {context}; X-rays are noted but not analysed.",
)
CATALOGUE_DETAILS = (
    "The catalogue gives a position with its error, counts in three bands and a detection likelihood.",
    "Counts, hardness and possible counterparts are tabulated for the sample as a whole.",
    "The paper describes source detection, completeness and number counts rather than single objects.",
    "Sample averages are discussed, such as the stacked spectrum of faint sources.",
)
SPARSE_SENTENCES = (
    "No spectral analysis was attempted because of the small number of counts.",
    "Neither a spectral fit nor a light curve is presented.",
    "Individual spectral properties are not discussed.",
    "The counts do not allow a spectral model to be fitted.",
)
# What an LLM reports of things it was asked for and did not find.
NOT_DISCUSSED_SENTENCES = {
    "flux": ("The flux is not discussed.", "Neither flux nor luminosity is discussed."),
    "column": ("Absorption is not discussed.", "The absorbing column is not discussed."),
    "shape": ("The spectral shape is not discussed.", "Spectral fits are not discussed."),
    "variability": ("Variability is not discussed.", "Timing properties are not discussed."),
}

HYPOTHESIS_SENTENCES = (
    "The source is useful for testing {hypothesis}.",
    "These data constrain {hypothesis}.",
    "It can be used to study {hypothesis}.",
    "The authors discuss {hypothesis}.",
    "Further observations would test {hypothesis}.",
    "The results bear on {hypothesis}.",
    "One application is the study of {hypothesis}.",
    "The source was proposed as a probe of {hypothesis}.",
    "As one of a small sample, it informs work on {hypothesis}.",
    "The proposal aimed at {hypothesis}.",
    "Comparison with similar objects addresses {hypothesis}.",
    "Its X-ray properties are compared with predictions concerning {hypothesis}.",
)
# Said where the text tells of that behaviour.
BEHAVIOUR_HYPOTHESES = {
    "red_noise": ("Its variability time-scale limits the size of the emitting region.",),
    "flare": (
        "Flare energies and decay times constrain the size of the emitting structures.",
        "The flares allow magnetic and accretion origins to be distinguished.",
    ),
    "dip": ("The dips probe the geometry and clumpiness of absorbing material.",),
    "eclipse": ("The eclipses fix the inclination and so help to weigh the components.",),
    "spin": ("Timing could measure the spin evolution and the magnetic field.",),
    "rotation": ("The modulation can locate the emitting regions on the star.",),
    "eruption": ("The eruptions test disc instabilities and orbiting companions around massive black holes.",),
    "transient": ("Its light curve distinguishes between progenitor models.",),
    "states": ("Its state changes test models of the accretion flow.",),
    "decay": ("The decline tests models of fading emission.",),
}
OUTLOOK_SENTENCES = (
    "Deeper spectroscopy would be decisive.",
    "A longer exposure is needed to decide between the models.",
    "High-resolution spectroscopy with future missions would help.",
    "Simultaneous multiwavelength coverage is called for.",
    "Monitoring over years is recommended.",
    "Population studies would benefit from a complete sample.",
)
