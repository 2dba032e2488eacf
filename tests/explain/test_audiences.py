"""Groups of methods: what stands behind one word in a route."""

from whyray.config.routes import EXPLANATION_GROUPS
from whyray.explain import AUDIENCES, GROUPS, expanded, method_named, methods, why_not
from whyray.inference import load_package


def test_the_configuration_knows_the_same_groups_as_the_methods():
    assert set(EXPLANATION_GROUPS) == set(GROUPS)


def test_all_stands_for_every_method_that_the_package_can_give_and_for_none_of_research_only():
    model = load_package("cxr-findings@1")
    found = expanded({"all": {}}, model)
    able = {each.name for each in methods() if each.deliverable and why_not(each, model) is None}
    assert set(found) == able
    assert "guided-backprop" not in found


def test_a_method_wished_for_by_name_keeps_its_parameters_beside_a_group():
    found = expanded({"radiologist": {}, "grad-cam": {"layer": None}}, load_package("cxr-findings@1"))
    assert found["grad-cam"] == {"layer": None}
    assert list(found).count("grad-cam") == 1


def test_every_member_of_a_group_is_a_method_that_may_be_delivered():
    for members in AUDIENCES.values():
        assert all(method_named(each).deliverable for each in members)
