from celes_beam.transforms.pull_restriction import PullProvider, PullTracker


def test_claims_are_added_up_and_a_checkpoint_goes_on_there() -> None:
    provider = PullProvider()
    first = provider.initial_restriction(b"")
    tracker = provider.create_tracker(first)

    assert first[0] == 0
    assert tracker.try_claim(0)
    assert tracker.current_restriction() == first
    assert tracker.try_claim(7)
    assert tracker.try_split(0.5) is None
    split = tracker.try_split(0)

    assert split is not None
    done, rest = split
    assert done[0] == rest[0] == 7
    assert rest[1] == first[1]
    assert not tracker.try_claim(0)
    assert tracker.try_split(0) is None
    assert PullTracker(rest).try_claim(1)


def test_it_is_endless_until_the_pipeline_is_drained() -> None:
    provider = PullProvider()
    first = provider.initial_restriction(b"")
    tracker = provider.create_tracker(first)

    assert not tracker.is_bounded()
    assert tracker.check_done()
    assert list(provider.split(b"", first)) == [first]
    assert provider.truncate(b"", first) is None
    assert provider.restriction_size(b"", first) == 1
