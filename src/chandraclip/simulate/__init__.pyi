from .detections import simulate_chunk as simulate_chunk
from .detections import simulate_detections as simulate_detections
from .instrument.response import builtin_response as builtin_response
