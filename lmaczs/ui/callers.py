"""Whether the program that asked still waits for its answer."""

from collections.abc import Callable

from gradio.context import LocalContext


def caller_has_left() -> Callable[[], bool]:
    """A check for the call that is being answered in this thread: whether its caller has gone or has cancelled it.

    Gradio's queue marks an event when its stream of answers is closed or it is cancelled; nothing public tells it to the
    function that works on the answer.

    Returns:
        May be called from any thread. Always False for a call that did not come through the queue.
    """
    event, blocks = LocalContext.event_id.get(None), LocalContext.blocks.get(None)
    app = getattr(blocks, "app", None)
    if event is None or blocks is None or app is None:
        return lambda: False
    queue = blocks._queue

    def has_left() -> bool:
        pending = any(event in ids for ids in list(queue.pending_event_ids_session.values()))
        jobs = [job for jobs in queue.active_jobs if jobs for job in jobs if job._id == event]
        return not pending or event in app.iterators_to_reset or not all(job.alive for job in jobs)

    return has_left
