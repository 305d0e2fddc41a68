//! What operators ask and tell: explain, usage, override, signal, pardon, reload, statistics, metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use tollgate::{Identity, Limiter, Override, Plan, Signal, Whom};

use crate::Customers;

const METERS: [&str; 3] = ["requests", "input_tokens", "output_tokens"];

#[derive(Clone)]
struct Admin {
    limiter: Limiter,
    customers: Customers,
    policy: Arc<str>,
    prometheus: PrometheusHandle,
}

/// An answer that says why not.
type Refused = (StatusCode, String);

fn refused(why: impl ToString) -> Refused {
    (StatusCode::UNPROCESSABLE_ENTITY, why.to_string())
}

pub fn routes(
    limiter: Limiter,
    customers: Customers,
    policy: String,
    token: String,
    prometheus: PrometheusHandle,
) -> Router {
    let expected: Arc<str> = format!("Bearer {token}").into();
    let admin = Admin { limiter, customers, policy: policy.into(), prometheus };
    Router::new()
        .route("/accounts/{account}", get(explain))
        .route("/accounts/{account}/usage", get(usage))
        .route("/accounts/{account}/override", post(set_override).delete(lift_override))
        .route("/accounts/{account}/signal", post(signal))
        .route("/accounts/{account}/pardon", post(pardon))
        .route("/top/{meter}", get(top))
        .route("/overrides", get(overrides))
        .route("/statistics", get(statistics))
        .route("/reload", post(reload))
        .route("/metrics", get(|State(admin): State<Admin>| async move { admin.prometheus.render() }))
        .with_state(admin)
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let expected = Arc::clone(&expected);
            async move {
                match request.headers().get(header::AUTHORIZATION) {
                    Some(said) if is_same(said.as_bytes(), expected.as_bytes()) => next.run(request).await,
                    _ => StatusCode::UNAUTHORIZED.into_response(),
                }
            }
        }))
}

/// Takes as long whatever is said, so that nobody can find the token byte by byte.
fn is_same(said: &[u8], expected: &[u8]) -> bool {
    let differing =
        said.iter().zip(expected).fold(0, |differing, (said, expected)| differing | (said ^ expected));
    said.len() == expected.len() && differing == 0
}

impl Admin {
    fn account(&self, account: &str) -> Result<Identity, Refused> {
        let known = self.customers.by_account.get(account).copied();
        known.ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no account {account}")))
    }
}

async fn explain(State(admin): State<Admin>, Path(account): Path<String>) -> Result<Response, Refused> {
    Ok(Json(admin.limiter.explain(&admin.account(&account)?)).into_response())
}

/// What its quotas and budgets have counted, by meter.
async fn usage(State(admin): State<Admin>, Path(account): Path<String>) -> Result<Response, Refused> {
    let (limiter, account) = (&admin.limiter, admin.account(&account)?);
    let known = METERS.into_iter().filter_map(|name| Some((name, limiter.meter(name)?)));
    let counted = known.map(|(name, meter)| (name, limiter.usage(Whom::Account(&account), meter, None)));
    Ok(Json(counted.collect::<BTreeMap<_, _>>()).into_response())
}

/// Who took most of a meter.
async fn top(State(admin): State<Admin>, Path(meter): Path<String>) -> Result<Response, Refused> {
    let known = admin.limiter.meter(&meter);
    let meter = known.ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no meter {meter}")))?;
    Ok(Json(admin.limiter.top(20, meter)).into_response())
}

async fn overrides(State(admin): State<Admin>) -> Response {
    Json(admin.limiter.overrides()).into_response()
}

async fn statistics(State(admin): State<Admin>) -> Response {
    Json(admin.limiter.statistics()).into_response()
}

/// `{ "hours": 24, "reason": "appeal 4711", "meter": "requests", "rule": "day", "limit": 5000 }`
#[derive(Deserialize)]
struct Granted {
    hours: u64,
    reason: String,
    meter: String,
    rule: String,
    limit: u64,
}

async fn set_override(
    State(admin): State<Admin>,
    Path(account): Path<String>,
    Json(granted): Json<Granted>,
) -> Result<(), Refused> {
    let Granted { hours, reason, meter, rule, limit } = granted;
    let lasting = Duration::from_secs(hours.saturating_mul(3_600));
    let granted = Override::new(lasting, &reason).limit(&meter, &rule, limit);
    admin.limiter.set_override(Whom::Account(&admin.account(&account)?), granted).map_err(refused)
}

async fn lift_override(State(admin): State<Admin>, Path(account): Path<String>) -> Result<String, Refused> {
    Ok(format!("{}\n", admin.limiter.lift_override(Whom::Account(&admin.account(&account)?))))
}

/// `{ "kind": "abuse_team", "source": "ticket 12" }`
#[derive(Deserialize)]
struct Reported {
    kind: String,
    source: String,
}

async fn signal(
    State(admin): State<Admin>,
    Path(account): Path<String>,
    Json(Reported { kind, source }): Json<Reported>,
) -> Result<(), Refused> {
    let subject = Whom::Account(&admin.account(&account)?);
    admin.limiter.signal(Signal { subject, kind: &kind, source: &source, weight: 1 }).map_err(refused)
}

async fn pardon(State(admin): State<Admin>, Path(account): Path<String>) -> Result<String, Refused> {
    let known =
        admin.limiter.pardon(Whom::Account(&admin.account(&account)?), Duration::from_secs(30 * 86_400));
    Ok(format!("{known}\n"))
}

/// Reads the policy's file again. What is wrong with it is told, and the old one stays in force.
async fn reload(State(admin): State<Admin>) -> Result<(), Refused> {
    let text = tokio::fs::read_to_string(&*admin.policy).await.map_err(refused)?;
    admin.limiter.reload(Plan::from_toml(&text).map_err(refused)?).map_err(refused)
}
