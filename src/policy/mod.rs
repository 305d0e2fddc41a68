//! Policy: what an operator writes (`spec`), every check (`compile`), and what the request path reads (`plan`).

pub(crate) mod plan;
pub(crate) mod rate;
