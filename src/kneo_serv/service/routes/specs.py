"""Specs: checking, compiling, explaining, drawing and reporting about them, and running them."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from kneo_serv.errors import EnvironmentPolicyError
from kneo_serv.platform import PlatformManager
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.drawing import EMPTY, drawn
from kneo_serv.service.idempotency import SPECS_RUN, KeyHeader
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.paths import FoundSpec, found_spec
from kneo_serv.service.routes.run_views import judged
from kneo_serv.service.routes.runs import STARTED, trace_of
from kneo_serv.service.schemas.runs import RunCreateRequest, RunCreateResponse
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery
from kneo_serv.service.schemas.specs import (
    PolicyReportResponse,
    SpecCompileRequest,
    SpecCompileResponse,
    SpecExplainRequest,
    SpecExplainResponse,
    SpecGraphRequest,
    SpecGraphResponse,
    SpecPolicyReportRequest,
    SpecSource,
    SpecValidateRequest,
    SpecValidateResponse,
)
from kneo_serv.service.starting import start_run
from kneo_serv.service.state import Service
from kneo_serv.spec import SpecCompilationError, ValidationReport, enforce

router = APIRouter(tags=["specs"], route_class=ScopedRoute)

READ = needs("specs:read")

type Look = Callable[[PlatformManager, FoundSpec], dict[str, Any]]


@router.post("/specs/validate", response_model=SpecValidateResponse, responses=ERRORS, openapi_extra=READ)
async def validate_spec(
    asked: SpecValidateRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """Every finding about a spec; imports nothing that it names."""

    def look(manager: PlatformManager, found: FoundSpec) -> dict[str, Any]:
        report = manager.compiler.validate(found.source, **_layers(asked, found))
        return {"valid": not report.has_errors, "diagnostics": found.paths.diagnostics(report.diagnostics)}

    answer = await _looked(service, asked, look)
    await _audit(service, caller, asked, "spec.validated", valid=answer["valid"])
    return JSONResponse(answer)


@router.post("/specs/compile", response_model=SpecCompileResponse, responses=ERRORS, openapi_extra=READ)
async def compile_spec(
    asked: SpecCompileRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """Whether a spec compiles here, the code and skills that it names included."""

    def look(manager: PlatformManager, found: FoundSpec) -> dict[str, Any]:
        try:
            package = manager.compiler.compile(found.source, strict=asked.strict, **_layers(asked, found))
        except SpecCompilationError as error:
            if asked.strict:
                raise
            return {"ok": False, "diagnostics": found.paths.diagnostics(error.report.diagnostics), "summary": {}}
        _gate(manager, asked, package.spec, package.diagnostics)
        return {
            "ok": not ValidationReport(package.diagnostics).has_errors,
            "diagnostics": found.paths.diagnostics(package.diagnostics),
            "summary": package.summary(),
        }

    answer = await _looked(service, asked, look)
    await _audit(service, caller, asked, "spec.compiled", valid=answer["ok"])
    return JSONResponse(answer)


@router.post("/specs/explain", response_model=SpecExplainResponse, responses=ERRORS, openapi_extra=READ)
async def explain_spec(
    asked: SpecExplainRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """What a spec holds, by name."""

    def look(manager: PlatformManager, found: FoundSpec) -> dict[str, Any]:
        _enforced(manager, asked, found)
        return {"summary": manager.compiler.explain(found.source, **_layers(asked, found))}

    answer = await _looked(service, asked, look)
    await _audit(service, caller, asked, "spec.explained")
    return JSONResponse(answer)


@router.post("/specs/graph", response_model=SpecGraphResponse, responses=ERRORS, openapi_extra=READ)
async def draw_spec(
    asked: SpecGraphRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """The workflow of a spec as nodes and edges; empty for a spec without one."""

    def look(manager: PlatformManager, found: FoundSpec) -> dict[str, Any]:
        _enforced(manager, asked, found)
        layers = _layers(asked, found)
        if not manager.compiler.explain(found.source, **layers)["has_root_workflow"]:
            return dict(EMPTY)
        return drawn(manager.compiler.graph(found.source, **layers))

    answer = await _looked(service, asked, look)
    await _audit(service, caller, asked, "spec.graph", workflow_kind=answer["workflow_kind"])
    return JSONResponse(answer)


@router.post("/specs/policy-report", response_model=PolicyReportResponse, responses=ERRORS, openapi_extra=READ)
async def report_policies(
    asked: SpecPolicyReportRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """What the agents of a spec may do, remember and guard, and who looks at it. Enforces no environment's policy."""

    def look(manager: PlatformManager, found: FoundSpec) -> dict[str, Any]:
        report = judged(manager.compiler.policy_report(found.source, **_layers(asked, found)))
        return {"valid": report["valid"], "report": found.paths.renamed(report)}

    answer = await _looked(service, asked, look)
    await _audit(service, caller, asked, "spec.policy_reported", valid=answer["valid"])
    return JSONResponse(answer)


@router.post("/specs/run", response_model=RunCreateResponse, responses=STARTED, openapi_extra=needs("runs:write"))
async def run_spec(
    asked: RunCreateRequest,
    query: Annotated[NoQuery, Query()],
    request: Request,
    service: TheService,
    caller: Caller,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Starts a run, as `POST /runs` does; keys of the one mean nothing to the other."""
    return await start_run(service, caller, asked, scope=SPECS_RUN, given_key=idempotency_key, trace=trace_of(request))


async def _looked(service: Service, asked: SpecSource, look: Look) -> dict[str, Any]:
    asked.check(service.limits)
    manager, root = service.platform, service.spec_root

    def work() -> dict[str, Any]:
        found = found_spec(asked.spec, asked.spec_path, asked.overlays, root)
        with found.paths.told():
            return look(manager, found)

    return await off_loop(work)


def _layers(asked: SpecSource, found: FoundSpec) -> Mapping[str, Any]:
    return {"environment": asked.environment, "overlays": found.overlays, "overrides": asked.overrides or None}


def _enforced(manager: PlatformManager, asked: SpecSource, found: FoundSpec) -> None:
    if asked.environment is None or manager.get_environment_policy(asked.environment) is None:
        return
    package = manager.compiler.compile(found.source, **_layers(asked, found))
    _gate(manager, asked, package.spec, package.diagnostics)


def _gate(manager: PlatformManager, asked: SpecSource, spec: Any, diagnostics: Any) -> None:
    """Raises EnvironmentPolicyError where the policy of the environment refuses the spec."""
    if asked.environment is None:
        return
    policy = manager.get_environment_policy(asked.environment)
    refused = [] if policy is None else enforce(policy, spec, diagnostics)
    if refused:
        raise EnvironmentPolicyError(environment=asked.environment, diagnostics=[item.to_dict() for item in refused])


async def _audit(service: Service, caller: AuthPrincipal, asked: SpecSource, event_type: str, **facts: Any) -> None:
    told = {
        "spec_path": asked.spec_path if asked.spec is None else None,
        "inline_spec": asked.spec is not None,
        "environment": asked.environment,
        "overlays": list(asked.overlays),
        **facts,
    }
    await service.reach(
        lambda platform: platform.audit(event_type, actor=caller.name, metadata=told, tenant=caller.tenant)
    )
