from tests.cli.shell import Shell

SPEC = "version: v1\nagent: {name: echo, model: {provider: dummy, name: dummy}}\n"


def test_nothing_is_pruned_where_nothing_says_how_long_things_are_kept(kneo: Shell) -> None:
    kneo.write("spec.yaml", SPEC)
    assert kneo("prune", "--json").json["runs"] == 0
    assert not (kneo.folder / ".kneo").exists()
    kneo("run", "spec.yaml", "--input", "tea", "--target", "agent")
    told = kneo("prune")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "nothing to prune" in told.stderr


def test_the_project_says_how_long_runs_are_kept(kneo: Shell) -> None:
    kneo.write("spec.yaml", SPEC)
    kneo.write(".kneo/config.yaml", "project: {name: kitchen}\nretention: {runs_days: 0}\n")
    kneo("run", "spec.yaml", "--input", "tea", "--target", "agent")
    foreseen = kneo("prune", "--dry-run", "--json").json
    assert (foreseen["dry_run"], foreseen["runs"], foreseen["expired_human_tasks"]) == (True, 1, 0)
    assert kneo("runs", "list", "--json").json["total"] == 1
    told = kneo("prune")
    assert "runs" in told.stdout
    assert kneo("runs", "list", "--json").json["total"] == 0
    assert kneo("audit", "list", "--type", "retention.pruned", "--json").json["total"] == 1
