//! The layer: what a gate is made of.

use std::{collections::hash_map::RandomState, fmt, sync::Arc};

use tower_layer::Layer;

use super::{extract::Extract, service::Gate, spend::SpendLayer};
use crate::limiter::{Audit, Limiter};

/// Puts a [`Gate`] before a service. Cheap to clone.
#[derive(Clone)]
pub struct GateLayer {
    settings: Arc<Settings>,
}

/// What all clones of a gate share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) limiter: Limiter,
    pub(super) extract: Arc<dyn Extract>,
    pub(super) audit: Option<Arc<dyn Audit>>,
    /// With `{tier}` where the name of the tier goes.
    pub(super) step_up: Option<Arc<str>>,
    pub(super) fields_on_success: bool,
    /// Draws jitter.
    pub(super) random: RandomState,
}

impl GateLayer {
    /// A gate by `limiter`, for requests as `extract` reads them: what [`Who`](super::Who) makes, or a closure.
    pub fn new(limiter: Limiter, extract: impl Extract) -> GateLayer {
        GateLayer {
            settings: Arc::new(Settings {
                limiter,
                extract: Arc::new(extract),
                audit: None,
                step_up: None,
                fields_on_success: false,
                random: RandomState::new(),
            }),
        }
    }

    /// Where a caller goes to become of a better tier: told in denials that such a tier lifts. `{tier}` in it stands for the
    /// tier's name.
    #[must_use]
    pub fn step_up_url(mut self, url: &str) -> GateLayer {
        Arc::make_mut(&mut self.settings).step_up = Some(Arc::from(url));
        self
    }

    /// Puts `RateLimit` fields into responses of admitted requests too, for the rule of the caller's own account or organization
    /// that has the least part left, but for what is in flight. Without it, denials alone have them. Costs about a microsecond.
    #[must_use]
    pub fn fields_on_success(mut self) -> GateLayer {
        Arc::make_mut(&mut self.settings).fields_on_success = true;
        self
    }

    /// Tells `audit` of each decision and settlement.
    #[must_use]
    pub fn audit(mut self, audit: Arc<dyn Audit>) -> GateLayer {
        Arc::make_mut(&mut self.settings).audit = Some(audit);
        self
    }

    /// Charges costs finally, as [`Limiter::check`] does, in place of reserving them: for requests whose cost is known when
    /// they come. Nothing is given back whatever happens, nothing can be reported, so that there is no
    /// [`Admitted`](super::Admitted) in a request's extensions, and rules on what is in flight hold nothing. Responses keep
    /// their type. It comes last: what else a gate is to do is said before.
    #[must_use]
    pub fn spends(self) -> SpendLayer {
        SpendLayer::new(self.settings)
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for GateLayer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GateLayer").field("limiter", &self.settings.limiter).finish_non_exhaustive()
    }
}
