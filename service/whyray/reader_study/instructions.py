"""What a reader reads and agrees to before the first case. A site adds what its ethics committee asks for."""

from __future__ import annotations

from typing import Literal


def instructions(title: str, question: str, control: Literal["answer", "image"], cases: int, *, sessions: int) -> str:
    """Plain text, paragraphs apart by an empty line."""
    shown = (
        "the image and a computer model's answer about it; for half of the cases also an explanation of that answer"
        if control == "answer"
        else "the image; for half of the cases also a computer model's answer about it, with an explanation"
    )
    again = " In a second session, some weeks later, you see the cases again in another order." if sessions > 1 else ""
    return "\n\n".join(
        (
            title,
            f"You see {cases} cases, one at a time: {shown}. The question is always the same: {question}{again}",
            "For each case choose an answer, say how sure you are, and add a comment if you like. Don't write anything "
            "into it by which a patient could be known. The model may be wrong; answer as you would on your own "
            "responsibility. You are not told whether you were right.",
            "Time is measured while a case is before you. Take a break between cases: log out or close the page, and "
            "go on later where you were. A case that you leave and come back to counts as interrupted, and its time is "
            "not used. An answer can't be changed once it is given, unless a button for going back is shown.",
            "Taking part is voluntary, and you may stop at any time without giving a reason. Your answers are kept "
            "under a place's name (R1, R2, …); which log-in holds which place is known to who leads the study. What is "
            "kept: answer, confidence, comment, time, order. Reports show no single reader's name.",
            "This is research. Nothing here is for diagnostic use.",
        )
    )
