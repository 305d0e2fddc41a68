//! From a request to who makes it, what it costs, and what is known about it.

use std::fmt;

use http::{HeaderName, header::AUTHORIZATION, request::Parts};

use super::{address::ClientAddress, error::Rejection};
use crate::{
    id::Identity,
    limiter::{Attributes, Limiter},
    meter::Cost,
};

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask(Option<Wanted>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) identity: Identity,
    pub(super) cost: Cost,
    pub(super) attributes: Option<Attributes>,
}

impl Ask {
    /// `cost`, to be reserved for `identity`.
    pub fn new(identity: Identity, cost: Cost) -> Ask {
        Ask(Some(Wanted { identity, cost, attributes: None }))
    }

    /// Nothing: the request passes and nobody counts it. For what a balancer asks.
    pub fn nothing() -> Ask {
        Ask(None)
    }

    /// The same, with what is known about the request, for the policy's `evidence`.
    #[must_use]
    pub fn with(mut self, attributes: Attributes) -> Ask {
        if let Some(wanted) = &mut self.0 {
            wanted.attributes = Some(attributes);
        }
        self
    }

    pub(super) fn wanted(&self) -> Option<&Wanted> {
        self.0.as_ref()
    }
}

/// Reads what a request asks for from all of it but its body. Closures of this form do.
///
/// It is called on the request path, for each request, and must not block: where credentials are looked up elsewhere, an
/// outer layer does it and puts what it found into the request's extensions ([`Who::extension`]).
pub trait Extract: Send + Sync + 'static {
    /// What `request` asks for.
    ///
    /// # Errors
    ///
    /// What it is answered with where that can't be told.
    fn extract(&self, request: &Parts) -> Result<Ask, Rejection>;
}

impl<F> Extract for F
where
    F: Fn(&Parts) -> Result<Ask, Rejection> + Send + Sync + 'static,
{
    fn extract(&self, request: &Parts) -> Result<Ask, Rejection> {
        self(request)
    }
}

type Know = dyn Fn(&Parts) -> Attributes + Send + Sync;

/// `None` where the request has no credential of the kind.
type Find = dyn Fn(&Parts) -> Result<Option<Identity>, Rejection> + Send + Sync;

/// Who makes a request: ready-made ways to tell.
pub struct Who {
    find: Box<Find>,
}

impl Who {
    /// By the key in `Authorization: Bearer KEY`, which `look_up` knows or not. An unknown one is answered with 401; that of
    /// another scheme, `Basic` say, is none of this kind. White space around the key is not part of it.
    pub fn bearer(look_up: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static) -> Who {
        Who::by(move |request| {
            let Some(value) = request.headers.get(AUTHORIZATION) else { return Ok(None) };
            let (scheme, key) = match value.to_str().map(str::trim) {
                Ok(value) => value.split_once(' ').unwrap_or((value, "")),
                Err(_) => ("bearer", ""),
            };
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Ok(None);
            }
            known(Some(key.trim()).filter(|key| !key.is_empty()).and_then(&look_up))
        })
    }

    /// By what a header such as `x-api-key` says, which `look_up` knows or not. An unknown one is answered with 401. Where
    /// the header is there more than once, the first counts.
    pub fn header(
        name: HeaderName,
        look_up: impl Fn(&str) -> Option<Identity> + Send + Sync + 'static,
    ) -> Who {
        Who::by(move |request| {
            let Some(value) = request.headers.get(&name) else { return Ok(None) };
            known(value.to_str().ok().and_then(&look_up))
        })
    }

    /// By what an outer layer has put into the request's extensions.
    pub fn extension<T>(identity: impl Fn(&T) -> Identity + Send + Sync + 'static) -> Who
    where
        T: Send + Sync + 'static,
    {
        Who::by(move |request| Ok(request.extensions.get::<T>().map(&identity)))
    }

    /// Nobody in particular: an account of the policy's `anonymous` tier for each address, of IPv6 for each network of 64
    /// bits, since that is what one customer has. Where the policy names no such tier, or the server tells no peer's address,
    /// it knows nobody, and a request that nobody else knows either is answered with 401.
    pub fn anonymous(limiter: &Limiter, address: ClientAddress) -> Who {
        let limiter = limiter.clone();
        Who::by(move |request| {
            let key = address.of(request).map(ClientAddress::network);
            Ok(key.and_then(|key| limiter.anonymous_by(&key)))
        })
    }

    fn by(find: impl Fn(&Parts) -> Result<Option<Identity>, Rejection> + Send + Sync + 'static) -> Who {
        Who { find: Box::new(find) }
    }

    /// By `other` where the request has no credential of this kind. A wrong one is not passed on.
    #[must_use]
    pub fn or(self, other: Who) -> Who {
        Who::by(move |request| match (self.find)(request)? {
            Some(identity) => Ok(Some(identity)),
            None => (other.find)(request),
        })
    }

    /// Each request costs the same.
    pub fn costs(self, cost: Cost) -> Asks {
        self.costs_by(move |_| cost)
    }

    /// What a request costs, or may cost at most, is told from it.
    pub fn costs_by(self, cost: impl Fn(&Parts) -> Cost + Send + Sync + 'static) -> Asks {
        Asks { who: self, cost: Box::new(cost), attributes: None }
    }
}

fn known(identity: Option<Identity>) -> Result<Option<Identity>, Rejection> {
    identity.map(Some).ok_or_else(Rejection::unauthorized)
}

impl fmt::Debug for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Who").finish_non_exhaustive()
    }
}

/// Who makes a request, and what it costs; made by [`Who::costs`].
pub struct Asks {
    who: Who,
    cost: Box<dyn Fn(&Parts) -> Cost + Send + Sync>,
    attributes: Option<Box<Know>>,
}

impl Asks {
    /// The same, with what is known about a request, for the policy's `evidence`.
    #[must_use]
    pub fn with(mut self, attributes: impl Fn(&Parts) -> Attributes + Send + Sync + 'static) -> Asks {
        self.attributes = Some(Box::new(attributes));
        self
    }
}

impl Extract for Asks {
    fn extract(&self, request: &Parts) -> Result<Ask, Rejection> {
        let identity = (self.who.find)(request)?.ok_or_else(Rejection::unauthorized)?;
        let attributes = self.attributes.as_ref().map(|attributes| attributes(request));
        Ok(Ask(Some(Wanted { identity, cost: (self.cost)(request), attributes })))
    }
}

impl fmt::Debug for Asks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Asks").finish_non_exhaustive()
    }
}
