"""How far to trust an explanation, in the words of those who read images: three levels, and a reason for each doubt."""

from __future__ import annotations

from typing import Annotated

from whyray.results.template_text import Plain, Strict, with_fields


class TrustLevelNames(Strict):
    """What the three levels are called, in the middle of a sentence."""

    reliable: Plain = "reliable"
    caution: Plain = "use with caution"
    not_shown: Plain = "not shown"


class TrustReasons(Strict):
    """Reasons why an explanation is to be used with caution, or is not shown: clauses that follow a colon.

    Of two that differ by `partly`, the milder is said where the explanation is still shown.
    """

    not_measured: Plain = "it was not checked"
    image_partly_unlike: Plain = "this image is unusual among those the model was made for"
    image_unlike: Plain = "this image is unlike those the model was made for"
    image_unknown: Plain = "it could not be checked whether the model was made for images like this one"
    organs_partly_odd: Plain = "the organs were outlined with an unusual size or side"
    organs_not_found: Plain = "the organs were not found where they should lie"
    partly_outside: Plain = "part of the highlighted area lies where this finding cannot be"
    outside: Plain = "the highlighted area lies mostly where this finding cannot be"
    peak_outside: Plain = "the most highlighted spot lies where this finding cannot be"
    changed_outside: Plain = "much of what was changed lies where this finding cannot be"
    no_marks: Plain = "no radiologist's marks were compared with such maps of this package"
    few_marks: Plain = "too few radiologists' marks of this finding were compared with such maps of this package"
    no_better_than_guess: Plain = "such maps of this package met radiologists' marks hardly more often than a guess"
    worse_than_guess: Plain = "such maps of this package met radiologists' marks less often than a guess"
    hardly_seen: Plain = "the model hardly sees this finding here"
    not_seen: Plain = "the model does not see this finding here, so there is nothing to highlight"
    nothing_highlighted: Plain = "the method highlighted nothing"
    highlighted_not_used: Plain = "changing the highlighted area changes the answer no more than changing another area"
    named_not_used: Plain = "what it names counts for the answer hardly more than other things do"
    without_place: Plain = "much of the answer has no place in the image"
    does_not_add_up: Plain = "its parts do not add up to the model's answer"
    calculated_otherwise: Plain = "its calculation does not match the model's answer"
    model_changed: Plain = "the model no longer answers as it did when it was installed"
    answers_all_alike: Plain = "the model answers nearly the same whatever the image shows"
    weights_random: Plain = "a part of the model is as random as if it had learned nothing"
    partly_same_without_training: Plain = "it would look partly the same if the model had learned nothing"
    same_without_training: Plain = "it would look nearly the same if the model had learned nothing"
    same_for_another: Plain = "the explanation of another finding looks nearly the same"
    not_reproduced: Plain = "it could not be reproduced from this image"
    not_repeated: Plain = "it was not made a second time to see that it belongs to this image"
    moved: Plain = "the highlighted area moved when the image was changed slightly"
    varies: Plain = "it differs from one calculation to the next"
    unfaithful: Plain = "it could not be shown that it follows what the model did"
    search_fails: Plain = "the search for similar cases misses cases that it should find"
    cases_say_little: Plain = "similar cases say little about how the model answers"
    cases_not_similar: Plain = "no reference case is truly similar to this one"
    cases_answered_otherwise: Plain = "the model answered the similar cases otherwise than this one"
    concepts_rough: Plain = "the concepts describe the answer only roughly"
    concepts_by_chance: Plain = "concepts chosen at random do nearly as well"
    concepts_none: Plain = "no concept was found to bear on this answer"
    concepts_ill_known: Plain = "some of the concepts are recognised poorly"
    redrawn_judged_otherwise: Plain = "the model judges the redrawn image otherwise than the image itself"
    answer_not_turned: Plain = "the change that is shown does not turn the answer"
    any_change_does: Plain = "other changes of the same size move the answer as much"
    redrawn_unreal: Plain = "the changed image does not look like an image of a patient"
    text_deviates: Plain = "the text does not say exactly what was measured"
    text_alone: Plain = "no other explanation stands beside the text"
    text_rests_on_doubt: Plain = "the text rests on explanations that are to be used with caution"
    text_disagrees: Plain = "the text and the model's answer differ"
    text_without_image: Plain = "the text does not depend on the image"
    unusual_not_told: Plain = "this method does not dependably tell unusual images from usual ones"
    plot_rough: Plain = "how unusual an image is can be told only roughly"
    units_unknown: Plain = "it is not known what most of the named parts of the model detect"


class AgreementWords(Strict):
    """Sentences on whether several maps of one finding (`methods`) point at the same places."""

    same: Annotated[str, with_fields("methods")] = "The maps by {methods} point at the same places."
    partly: Annotated[str, with_fields("methods")] = "The maps by {methods} point at partly the same places."
    different: Annotated[str, with_fields("methods")] = "The maps by {methods} point at different places."


class TrustWords(Strict):
    """Words for how far an explanation can be trusted.

    `badge` names the level of an explanation, never of a finding; `sentence` gives level and reason; `record` says how
    many (`hits`) of the places that radiologists had marked (`marks`) such maps of the package hit, and the best guess
    that knows nothing of the image (`guess`); `agreement` whether several maps of one finding point at the same places.
    """

    levels: TrustLevelNames = TrustLevelNames()
    badge: Annotated[str, with_fields("level")] = "Explanation: {level}"
    sentence: Annotated[str, with_fields("level", "because")] = "{level}: {because}."
    record: Annotated[str, with_fields("hits", "marks", "guess")] = (
        "Such maps of this package hit {hits} of {marks} places that radiologists had marked; a guess hits {guess}."
    )
    agreement: AgreementWords = AgreementWords()
    because: TrustReasons = TrustReasons()
