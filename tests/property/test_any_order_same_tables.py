"""The tables are a function of the log: not of chunking, restarts, workers, arrival order or repetition.

Each promise stands as a function of a seed in properties.py and edges.py, where its words are exact.
"""

from __future__ import annotations

import footfall_streams.fold as fold
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property import edges, properties

seeds = st.integers(0, 2**32)
some_worlds = settings(max_examples=10, deadline=None)
many_worlds = settings(max_examples=20, deadline=None)
small_stories = settings(max_examples=30, deadline=None)


@given(seeds)
@some_worlds
def test_any_chunking_gives_the_tables_of_message_by_message(seed: int) -> None:
    properties.any_chunking(seed)


@given(seeds)
@some_worlds
def test_any_chunking_of_shuffled_batches_gives_the_tables_of_message_by_message(seed: int) -> None:
    properties.any_chunking_of_shuffled_batches(seed)


@given(seeds)
@some_worlds
def test_a_worker_for_each_partition_gives_the_tables_of_one_for_all(seed: int) -> None:
    properties.any_worker(seed)


@given(seeds)
@some_worlds
def test_shuffled_and_repeated_batches_give_the_same_tables_but_for_version(seed: int) -> None:
    properties.any_order(seed)


@given(seeds)
@many_worlds
def test_the_tables_equal_the_oracles(seed: int) -> None:
    properties.the_oracle_agrees(seed)


@given(seeds)
@many_worlds
@example(48097)  # what one sensor hears early, another with a slower clock links to
def test_after_every_chunk_the_tables_are_those_of_a_recomputation_from_scratch(seed: int) -> None:
    properties.after_every_chunk(seed)


@given(seeds)
@some_worlds
def test_a_worker_restored_from_its_checkpoint_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    properties.restarts(seed)


@given(seeds)
@some_worlds
@example(951)  # a minute that is counted and taken back
def test_state_that_a_release_of_format_1_wrote_is_taken_over_and_replaced(seed: int) -> None:
    properties.state_of_format_1(seed)


@given(seeds)
@some_worlds
def test_a_store_that_leaves_the_configuration_and_returns_goes_on_as_if_it_had_not(seed: int) -> None:
    properties.a_store_that_leaves(seed)


@given(seeds)
@some_worlds
def test_a_sighting_beyond_the_horizon_changes_no_row_and_is_dead_lettered(seed: int) -> None:
    properties.beyond_the_horizon(seed)


@given(seeds)
@many_worlds
@example(244)  # a step that writes nothing after one that made and forgot many presences
def test_what_the_horizon_has_passed_is_forgotten_and_the_checkpoint_does_not_grow(seed: int) -> None:
    properties.forgetting(seed)


@given(seeds)
@small_stories
def test_a_presence_that_a_sighting_at_the_horizon_can_join_is_still_remembered(seed: int) -> None:
    edges.a_neighbour_at_the_horizon(seed)


@given(seeds)
@small_stories
def test_a_batch_that_comes_again_at_the_horizon_is_counted_once(seed: int) -> None:
    edges.a_batch_sent_twice_at_the_horizon(seed)


@given(seeds)
@small_stories
def test_a_presence_closes_and_a_minute_is_final_at_their_very_millisecond(seed: int) -> None:
    edges.closing(seed)


@given(seeds)
@small_stories
def test_a_minute_is_not_final_while_a_sighting_on_time_can_still_change_it(seed: int) -> None:
    edges.finality(seed)


@given(seeds)
@small_stories
def test_a_reopened_visit_leaves_no_phantom(seed: int) -> None:
    edges.a_reopened_visit(seed)


@given(seeds)
@small_stories
def test_a_joined_visit_leaves_no_phantom(seed: int) -> None:
    edges.a_joined_visit(seed)


@given(seeds)
@small_stories
def test_a_visit_that_starts_earlier_leaves_no_phantom(seed: int) -> None:
    edges.a_visit_that_starts_earlier(seed)


@pytest.mark.parametrize("size", [1, 3000])
def test_a_chunk_that_is_folded_in_parts_gives_the_same_tables(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_BYTES_AT_ONCE", size)
    for seed in range(20):
        properties.any_chunking(seed)
