"""How every piece of a film is encoded: what must be equal in all of them, and what may differ (CRF).

``stitchable=1`` keeps CRF out of SPS and PPS; colour, range, chroma place, SAR, rate and VBV are pinned, as
each of them is written there too.
"""

from collections.abc import Mapping

from edge_agent.core.effects import FilmFormat

KEY_S = 2
VBV_S = 2
CRF_MAX = 51


def encoder_options(film: FilmFormat, crf_boost: int = 0) -> Mapping[str, str | int]:
    """Output options of ffmpeg: x264 in MP4, no sound, one key frame at the start and every 2 s."""
    key_frames = KEY_S * film.fps
    x264 = {
        "stitchable": 1,
        "bframes": 0,
        "keyint": key_frames,
        "min-keyint": key_frames,
        "scenecut": 0,
        "sliced-threads": 0,
        "chromaloc": 0,
    }
    return {
        "c:v": "libx264",
        "preset": film.preset,
        "profile:v": "high",
        "crf": min(film.crf + crf_boost, CRF_MAX),
        "maxrate": film.maxrate_bps,
        "bufsize": film.maxrate_bps * VBV_S,
        "x264-params": ":".join(f"{name}={value}" for name, value in x264.items()),
        "pix_fmt": "yuv420p",
        "flags:v": "+bitexact",
        "fflags": "+bitexact",
        "map_metadata": -1,
        "fps_mode": "passthrough",
        "enc_time_base": f"1:{film.fps}",
        "video_track_timescale": film.fps,
        "use_editlist": 0,
        "f": "mp4",
    }
