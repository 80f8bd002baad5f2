"""The command lines of the worker: what ffmpeg and ffprobe may read, and what is made of it. Pure.

Standard library only: the worker runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud_bridge.media.bounds import Bounds

# Demuxer and decoders of each kind of file: nothing else is ever asked whether it knows the bytes.
_READERS: dict[str, tuple[str, str]] = {
    "png": ("png_pipe", "png"),
    "jpeg": ("jpeg_pipe", "mjpeg"),
    "webp": ("webp_pipe", "webp"),
    "mov": ("mov", "h264,hevc,mpeg4,vp9,av1,libdav1d"),
    "matroska": ("matroska", "vp8,vp9,av1,libdav1d"),
}
# ffprobe opens a decoder for every track of a film: those of the usual sound, titles and covers.
_BESIDE = (
    "aac,mp3float,mp3,ac3,eac3,alac,opus,libopus,vorbis,libvorbis,flac,pcm_s16le,pcm_s16be,mov_text,png,mjpeg"
)
_QUIET = ("-nostdin", "-hide_banner", "-v", "error", "-y")
# Nothing of the original but its pictures, and the same bytes for the same pictures.
_BARE = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact")


@dataclass(frozen=True)
class Tools:
    """Where the programs are."""

    ffmpeg: str
    ffprobe: str


def reading(kind: str, most_pixels: int) -> tuple[str, ...]:
    """What is said of ``in``: a plain file, one demuxer, few decoders, no more pixels than that."""
    demuxer, decoders = _READERS[kind]
    if demuxer in ("mov", "matroska"):
        decoders = f"{decoders},{_BESIDE}"
    return (
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer, "-codec_whitelist", decoders),
        *("-max_pixels", str(most_pixels), "-f", demuxer),
    )


def picture_arguments(tools: Tools, kind: str, bounds: Bounds) -> tuple[str, ...]:
    """The one frame as PNG with alpha, made smaller where it is larger than wanted."""
    share = f"min(1,{bounds.out_side}/max(iw,ih))"
    scale = f"scale=w='max(1,round(iw*{share}))':h='max(1,round(ih*{share}))':flags=lanczos"
    # Premultiplied, so that the colour hidden under transparent pixels does not bleed into the edges.
    graph = f"format=gbrap,premultiply=inplace=1,{scale},unpremultiply=inplace=1,format=rgba,setsar=1"
    strictly = ("-xerror", "-err_detect", "explode", "-threads", "1")
    return (
        *(tools.ffmpeg, *_QUIET, *strictly, *reading(kind, bounds.picture_pixels), "-i", "file:in"),
        *("-map", "0:v:0", "-frames:v", "1", "-vf", graph, "-filter_threads", "1", *_BARE),
        *("-c:v", "png", "-threads", "1", "-f", "image2pipe", "file:out"),
    )


def film_arguments(tools: Tools, kind: str, bounds: Bounds, *, hdr: bool) -> tuple[str, ...]:
    """H.264 in MP4: at most 1080 lines, steady rate, plain colours, no sound."""
    share = "min(1,min(1920/(iw*sar),1080/ih))"
    size = f"w='max(16,2*trunc(iw*sar*{share}/2))':h='max(16,2*trunc(ih*{share}/2))'"
    plain = f"scale={size}:out_color_matrix=bt709:out_range=tv,setsar=1,format=yuv420p"
    bright = (
        f"scale={size},setsar=1,zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,"
        "tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
    )
    graph = f"fps={bounds.film_fps},{bright if hdr else plain}"
    # A little more than is allowed, to see that it is longer.
    most_s = bounds.film_s + 1
    colors = (
        "-color_primaries",
        "bt709",
        "-color_trc",
        "bt709",
        "-colorspace",
        "bt709",
        "-color_range",
        "tv",
    )
    return (
        *(tools.ffmpeg, *_QUIET, "-threads", "2", *reading(kind, bounds.film_pixels)),
        *("-t", f"{most_s:g}", "-i", "file:in", "-map", "0:V:0", "-an", "-sn", "-dn", *_BARE),
        *("-vf", graph, "-filter_threads", "2", "-frames:v", str(int(most_s * bounds.film_fps))),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-maxrate", "8M", "-bufsize", "16M"),
        *("-pix_fmt", "yuv420p", "-profile:v", "high", "-threads", "2", *colors),
        *("-movflags", "+faststart", "-f", "mp4", "file:out"),
    )


def probe_arguments(tools: Tools, reader: Sequence[str], name: str) -> tuple[str, ...]:
    """What a file says of its pictures, and how many there are; as JSON."""
    of_stream = "codec_name,width,height,sample_aspect_ratio,color_transfer,duration,nb_read_packets"
    shown = f"stream={of_stream}:stream_disposition=attached_pic:format=duration"
    return (
        *(tools.ffprobe, "-hide_banner", "-v", "fatal", *reader, "-select_streams", "v", "-count_packets"),
        *("-show_entries", shown, "-of", "json", "-i", f"file:{name}"),
    )
