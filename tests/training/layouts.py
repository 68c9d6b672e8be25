"""Write miniatures of datasets in the exact layouts in circulation, with pictures of noise."""

import shutil

import cv2
import numpy as np

FERV39K_CLIPS = (
    ("Action/Happy/0267", "Action/Angry/0001", "War/Sad/0012", "War/Fear/0000", "DailyLife/Neutral/0107"),
    ("Action/Happy/0003", "War/Surprise/0005", "DailyLife/Disgust/0009"),
)
"""Clips to train on and to test on."""

DFEW_CLIPS = (
    {"00001": 1, "00002": 2, "00027": 7, "02522": 6, "12059": 3, "00300": 4},
    {"00004": 5, "00006": 7, "11111": 1},
)
"""Numbers as the release has them, from 1 to 7, of clips to train on and to test on."""

MAFW_CLIPS = (
    {"03747": "anger", "03785": "contempt", "00041": "helplessness", "09000": "happiness"},
    {"00025": "anger", "07000": "disappointment", "00108": "anxiety"},
)
"""Clips to train on and to test on."""

OFFICIAL_DFEW = "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv"
S2D_DFEW = "EmoLabel_DataSplit/{part}(single-labeled)/{part}_set_{fold}.csv"
OLDER_DFEW = "label/single_{part}set_{fold}.csv"
FORMER_DFER_DFEW = "annotation/DFEW_set_{fold}_{part}.txt"
MAE_DFER_DFEW = "split0{fold}/{part}.csv"

_CAPTION = "一个男人大声讲话。紧皱眉头。\tA man talks loudly. The tight frown."


def write_bytes(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_text(path, lines, *, newline="\n", ending="\n", bom=False, encoding="utf-8"):
    """Write lines byte for byte: `newline` between them, `ending` after the last."""
    data = (newline.join(lines) + ending).encode(encoding)
    return write_bytes(path, b"\xef\xbb\xbf" + data if bom else data)


def picture(suffix=".jpg", side=12, seed=0):
    rgb = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    encoded, data = cv2.imencode(suffix, rgb)
    assert encoded
    return data.tobytes()


def write_frames(folder, num_frames=16, *, pattern="{clip}_{number:05d}.jpg", first=1):
    """Write frames that are numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = picture()
    for number in range(first, first + num_frames):
        (folder / pattern.format(clip=folder.name, number=number)).write_bytes(data)
    return folder


def write_video(path, num_frames=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25.0, (32, 32))
    assert writer.isOpened()
    generator = np.random.default_rng(0)
    for _ in range(num_frames):
        writer.write(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    writer.release()
    return path


def write_dfew_lists(root, pattern=OFFICIAL_DFEW, *, folds=(1, 2, 3, 4, 5), clips=DFEW_CLIPS, first=1, **text):
    """Write the csv files of folds, which all hold the same clips; labels count from `first`."""
    for fold in folds:
        for part, labels in zip(("train", "test"), clips, strict=True):
            lines = [f"{name},{label - 1 + first}" for name, label in labels.items()]
            write_text(root / pattern.format(part=part, fold=fold), ["video_name,label", *lines], **text)
    return root


def write_dfew_path_lists(root, pattern=FORMER_DFER_DFEW, *, fold=1, with_counts=True, test_part="test"):
    """Write lists with paths of another machine, with or without Former-DFER's counts of frames."""
    for part, labels in zip(("train", test_part), DFEW_CLIPS, strict=True):
        middle = " 66 " if with_counts else " "
        lines = [f"/home/user/datasets/DFEW_Face/{name}{middle}{label - 1}" for name, label in labels.items()]
        write_text(root / pattern.format(part=part, fold=fold), lines)
    return root


def write_dfew_frames(root, folder="Clip/clip_224x224", num_frames=16):
    for name in (*DFEW_CLIPS[0], *DFEW_CLIPS[1]):
        write_frames(root / folder / name, num_frames)
    return root


def write_ferv39k(root, *, frames="2_ClipsforFaceCrop", num_frames=16):
    """Write the release: lists of names without a header, and frames where they are asked for."""
    for part, clips in zip(("train", "test"), FERV39K_CLIPS, strict=True):
        lines = [f"{clip} {clip.split('/')[1]}" for clip in clips]
        write_text(root / f"4_setups/All_scenes/{part}_All.csv", lines)
        for clip in clips if frames else ():
            write_frames(root / frames / clip, num_frames, pattern="{number}.jpg", first=0)
    return root


def write_ferv39k_numbers(root, order, *, style="S2D"):
    """Write lists that hold numbers in an order of class folders: of S2D, of Former-DFER or of MAE-DFER."""
    names = {"S2D": "Annotation/{}.csv", "Former-DFER": "annotation/FERV39K_{}.txt", "MAE-DFER": "all_scenes/{}.csv"}
    for part, clips in zip(("train", "test"), FERV39K_CLIPS, strict=True):
        numbers = [order.index(clip.split("/")[1]) for clip in clips]
        pairs = list(zip(clips, numbers, strict=True))
        lines = {
            "S2D": ["path,id", *(f"{clip},{number}" for clip, number in pairs)],
            "Former-DFER": [f"/data/FERV39K/2_ClipsforFaceCrop/{clip} 25 {number}" for clip, number in pairs],
            "MAE-DFER": [f"/mnt/FERV39k/2_ClipsforFaceCrop/{clip} {number}" for clip, number in pairs],
        }[style]
        write_text(root / names[style].format(part), lines)
    return root


def write_afew_faces(root, *, num_frames=16):
    """Write frames as Former-DFER made them."""
    clips = (
        ("train", "0", ("Happiness", "Sadness", "Neutral", "Anger", "Surprise", "Disgust", "Fear", "Fear")),
        ("validation", "1", ("Happiness", "Disgust", "Fear")),
    )
    for part, prefix, names in clips:
        for place, name in enumerate(names):
            clip = f"{prefix}_{place % 7}_0117560{place:02d}"
            write_frames(root / "AFEW_Face" / part / name / clip, num_frames, pattern="{number}.jpg")
    return root


def write_afew_release(root, *, train="Train_AFEW", val="Val_AFEW", suffix=".avi"):
    """Write the release: videos, or folders where the suffix is empty, with its authors' aligned faces beside them."""
    for part, names in ((train, ("Angry", "Happy", "Sad", "Fear")), (val, ("Disgust", "Neutral", "Surprise"))):
        for place, name in enumerate(names):
            clip = root / part / name / f"0000462{place}0{suffix}"
            if suffix:
                write_video(clip)
            else:
                write_frames(clip, pattern="{number:03d}.png")
        write_frames(root / part / "AlignedFaces_LBPTOP_Points" / "frames" / "000046200", 2)
    return root


def write_mafw_lists(
    root, *, folds=(1, 2, 3, 4, 5), top="split", kind="single", caption="no_caption", encoding="gb18030", extra=()
):
    """Write the lists of folds, with captions in an encoding or without; `extra` follows the training clips."""
    for fold in folds:
        for part, labels in zip(("train", "test"), MAFW_CLIPS, strict=True):
            pairs = [*labels.items(), *(extra if part == "train" else ())]
            path = root / top / kind / caption / f"set_{fold}" / f"{part}.txt"
            if caption == "no_caption":
                write_text(path, [f"{name}.mp4 {label}" for name, label in pairs])
            else:
                lines = [f"{name}.mp4\t{label}\t{_CAPTION}" for name, label in pairs]
                write_text(path, lines, newline="\r\n", ending="\r\n", encoding=encoding)
    return root


def write_mafw_media(root, folder="data/faces", *, suffix="", num_frames=16):
    for name in (*MAFW_CLIPS[0], *MAFW_CLIPS[1]):
        if suffix:
            write_video(root / folder / f"{name}{suffix}", num_frames)
        else:
            write_frames(root / folder / name, num_frames)
    return root


def take_away(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
