"""Mistakes in what crops are drawn and how they are augmented."""

from mutant import Mutant

SAMPLING, VIEWS = "Engine/test_sampling.py", "Engine/test_augmentation.py"
MUTANTS = (
    Mutant(
        "crops outside hold no ignored voxels",
        "metassl/crops/sampling.py",
        "if label is None else label, start, self.size, IGNORE)",
        "if label is None else label, start, self.size, 0)",
        SAMPLING,
    ),
    Mutant(
        "no crop is centred on foreground",
        "metassl/crops/sampling.py",
        "if random.random() < FOREGROUND_SHARE:",
        "if False:",
        SAMPLING,
    ),
    Mutant(
        "the same order in every epoch",
        "metassl/crops/sampling.py",
        "self.seed, stream, epoch)",
        "self.seed, stream, number)",
        SAMPLING,
    ),
    Mutant(
        "zeros beyond the crop are background",
        "metassl/crops/augmentation.py",
        "shifted = labels.unsqueeze(1).float() - IGNORE",
        "shifted = labels.unsqueeze(1).float()",
        VIEWS,
    ),
    Mutant(
        "mirrored without being asked",
        "metassl/crops/augmentation.py",
        "for axis in self.mirror:",
        "for axis in (2,):",
        VIEWS,
    ),
    Mutant(
        "thick slices rotate out of plane",
        "metassl/crops/augmentation.py",
        "angles[np.arange(3) != coarsest] = 0",
        "pass",
        VIEWS,
    ),
    Mutant(
        "labels are bent as the next crop",
        "metassl/crops/augmentation.py",
        "functional.grid_sample(shifted, grid, mode",
        "functional.grid_sample(shifted, grid.roll(1, 0), mode",
        VIEWS,
    ),
    Mutant(
        "all crops have the same noise",
        "metassl/crops/augmentation.py",
        "(int(s) % 2**63 for s in seeds)",
        "(0 for s in seeds)",
        VIEWS,
    ),
    Mutant(
        "the whole crop is scaled to the patch",
        "metassl/crops/augmentation.py",
        "self._matrix(random) * np.array(self.patch) / np.reshape(size, (3, 1))",
        "self._matrix(random)",
        VIEWS,
    ),
    Mutant(
        "elastic shifts in the wrong order of axes",
        "metassl/crops/augmentation.py",
        "np.pad(matrix[::-1, ::-1], ((0, 0), (0, 1))), shifts[::-1]",
        "np.pad(matrix[::-1, ::-1], ((0, 0), (0, 1))), shifts",
        VIEWS,
    ),
    Mutant(
        "crops begin where they should be centred",
        "metassl/crops/sampling.py",
        " - np.array(self.size) // 2",
        "",
        SAMPLING,
    ),
    Mutant(
        "every rank draws the same crops",
        "metassl/crops/sampling.py",
        "share = step * self.ranks + self.rank",
        "share = step",
        SAMPLING,
    ),
    Mutant(
        "unlabelled crops show their label",
        "metassl/crops/sampling.py",
        "case.label() if stream == 0 else None",
        "case.label()",
        SAMPLING,
    ),
    Mutant(
        "foreground of one class only",
        "metassl/crops/sampling.py",
        "places[random.integers(len(places))]",
        "places[0]",
        SAMPLING,
    ),
    Mutant(
        "a crop tells another case's number",
        "metassl/crops/sampling.py",
        "            index,\n",
        "            position,\n",
        SAMPLING,
    ),
)
