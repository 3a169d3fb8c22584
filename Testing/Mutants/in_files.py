"""Mistakes that lose files, or let in what somebody else made."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "volumes are not read back",
        "metassl/files.py",
        'raise OSError("its end is missing, probably because the disk is full")',
        "pass",
        "Engine/test_reliability.py::test_a_full_disk_never_replaces_a_good_result",
    ),
    Mutant(
        "no lock",
        "metassl/training/run_folder.py",
        "with run_lock(self.lock_file):",
        "if True:",
        "Engine/test_reliability.py::test_two_processes_do_not_train_into_one_folder",
    ),
    Mutant(
        "links are followed",
        "metassl/training/run_folder.py",
        "refuse_links(*files)",
        "list(files)",
        "Engine/test_untrusted.py::test_links_in_a_run_folder_are_not_followed",
    ),
    Mutant(
        "logs are written through links",
        "metassl/files.py",
        'no_links = getattr(os, "O_NOFOLLOW", 0)',
        "no_links = 0",
        "Engine/test_untrusted.py::test_links_that_come_later_are_not_written_through",
    ),
    Mutant(
        "checksums are not looked at",
        "metassl/inference/tensors.py",
        "if archive.testzip() is not None:",
        "if False:",
        "Engine/test_reliability.py::test_a_damaged_checkpoint_falls_back_to_the_one_before",
    ),
    Mutant(
        "one checkpoint",
        "metassl/training/trainer.py",
        "save_checkpoint(self.run.checkpoint_file, content, self.run.earlier_checkpoint_file)",
        "save_checkpoint(self.run.checkpoint_file, content)",
        "Engine/test_reliability.py::test_a_damaged_checkpoint_falls_back_to_the_one_before",
    ),
    Mutant(
        "the only checkpoint is removed",
        "metassl/training/checkpoint.py",
        "not (earlier.exists() and path.exists())",
        "not earlier.exists()",
        "Engine/test_reliability.py::test_a_disk_that_fails_at_the_last_moment_leaves_the_only_checkpoint",
    ),
    Mutant(
        "damaged caches are used",
        "metassl/planning/cache.py",
        "return cached if cached.is_whole(len(dataset.channels)) else None",
        "return cached",
        "Engine/test_reliability.py::test_a_damaged_cache_is_made_again",
    ),
    Mutant(
        "NaN weights are loaded",
        "metassl/inference/tensors.py",
        "if not math.isfinite(part.sum(dtype=torch.float32)):",
        "if False:",
        "Engine/test_untrusted.py::test_a_model_whose_weights_are_no_numbers_is_refused",
    ),
    Mutant(
        "deep JSON is read",
        "metassl/files.py",
        "_require_shallow(content)\n        return",
        "return",
        "Engine/test_untrusted.py::test_deep_and_huge_json_is_refused",
    ),
    Mutant(
        "NaN passes for a number",
        "metassl/validation.py",
        " or value != value or abs(value) == math.inf",
        "",
        "Engine/test_untrusted.py::test_numbers_that_would_segment_nothing_are_refused",
    ),
    Mutant(
        "a stop is not watched",
        "metassl/cli/stopping.py",
        "late(heard.is_set())",
        "pass",
        "Engine/test_stopping.py::test_every_command_stops_within_five_seconds",
    ),
)
