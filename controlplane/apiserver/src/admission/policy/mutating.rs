//! MutatingAdmissionPolicy
//! (<https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/>).

use std::{borrow::Cow, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Binding, Body, Hook, Misconfigured, Policy, apply, index::Index};
use crate::{
    admission::{
        Attributes, Operation, Plugin,
        authorizer::Authorizer,
        evaluation::{BUDGET, Failure, Subject},
        review::{Undecodable, keep_owners},
    },
    cel::Lazy,
    follow::Follower,
    metadata,
    registry::access::{list_at, str_at},
    resource::Definition,
    schema::decode::DecodeError,
    status::{ApiError, Cause},
};

/// The plugin.
#[derive(Default)]
pub struct MutatingAdmissionPolicy(Arc<Index<Mutating>>);

/// What a mutating policy does.
#[derive(Debug)]
pub struct Mutating {
    mutations: Box<[Mutation]>,
    /// Whether it wants to see what others have changed after it.
    again: bool,
}

#[derive(Debug)]
enum Mutation {
    /// `ApplyConfiguration`
    Configuration(Lazy),
    /// `JSONPatch`
    Operations(Lazy),
}

impl Body for Mutating {
    const RESOURCES: &'static [&'static str; 2] =
        &["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];

    fn read(spec: &Value) -> Self {
        let mutation = |mutation: &Value| match str_at(mutation, "/patchType") {
            "JSONPatch" => Mutation::Operations(Lazy::new(str_at(mutation, "/jsonPatch/expression"))),
            _ => Mutation::Configuration(Lazy::new(str_at(mutation, "/applyConfiguration/expression"))),
        };
        Self {
            mutations: list_at(spec, "/mutations").iter().map(mutation).collect(),
            again: str_at(spec, "/reinvocationPolicy") == "IfNeeded",
        }
    }
}

impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn follower(&self) -> Option<Arc<dyn Follower>> {
        Some(self.0.clone())
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let hooks = self.0.hooks();
        let matches = |hook: &Hook<Mutating>| hook.policy.matching.resource(attributes, object).is_some();
        if attributes.operation == Operation::Delete
            || super::is_exempt(attributes.definition)
            || !hooks.iter().any(matches)
        {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let mut dispatch = Dispatch { attributes, object, warnings, refusals: Vec::new() };
            let mut invocations = Vec::new();
            for hook in hooks.iter() {
                dispatch.collect(hook, &mut invocations).await;
            }
            if !invocations.is_empty() {
                let namespace = super::namespace(attributes).await?;
                dispatch.invoke(&invocations, &namespace).await?;
            }
            dispatch.finish()
        })
    }
}

/// A policy with a binding and a parameter that matches the request.
struct Invocation<'h> {
    policy: &'h Policy<Mutating>,
    binding: &'h Binding,
    matched: Definition,
    parameter: Value,
}

impl Invocation<'_> {
    /// What tells it from the others.
    fn key(&self) -> String {
        let (namespace, name) = (metadata::namespace(&self.parameter), metadata::name(&self.parameter));
        format!("{}/{}/{namespace}/{name}", self.policy.name, self.binding.name)
    }
}

/// Why a mutation was not made.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Its expression has no value.
    #[error(transparent)]
    Evaluation(#[from] Failure),
    /// What it made does not apply.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// What it made is no object of the kind.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The answer to the request.
    #[error(transparent)]
    Status(#[from] ApiError),
}

/// What the client is told of a policy that failed.
struct Refusal {
    message: String,
    reason: Option<&'static str>,
}

struct Dispatch<'a> {
    attributes: &'a Attributes<'a>,
    object: &'a mut Value,
    warnings: &'a mut Vec<String>,
    refusals: Vec<Refusal>,
}

impl Dispatch<'_> {
    fn misconfigured(&mut self, policy: &Policy<Mutating>, binding: Option<&Binding>, why: String) {
        let reason = match binding {
            Some(_) => Misconfigured::Binding(why),
            None => Misconfigured::Policy(why),
        };
        self.refuse(policy, binding, &reason.to_string(), None);
    }

    fn refuse(
        &mut self,
        policy: &Policy<Mutating>,
        binding: Option<&Binding>,
        why: &str,
        reason: Option<&'static str>,
    ) {
        if !policy.fails {
            return;
        }
        let message = match binding {
            Some(Binding { name, .. }) => {
                format!("policy '{}' with binding '{name}' denied request: {why}", policy.name)
            }
            None => format!("policy {:?} denied request: {why}", policy.name),
        };
        self.refusals.push(Refusal { message, reason });
    }

    /// Adds the invocations of a policy, one for each binding and parameter.
    async fn collect<'h>(&mut self, hook: &'h Hook<Mutating>, invocations: &mut Vec<Invocation<'h>>) {
        let (attributes, policy) = (self.attributes, &*hook.policy);
        let Some(matched) = policy.matching.resource(attributes, self.object) else { return };
        match policy.matching.selects(attributes, self.object).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.misconfigured(policy, None, error.message),
        }
        let parameters = match policy.parameters.as_ref().map(|kind| kind.resource(attributes.server)) {
            Some(Err(why)) => return self.misconfigured(policy, None, why),
            Some(Ok(resource)) => Some(resource),
            None => None,
        };
        for binding in &hook.bindings {
            match binding.matches(attributes, self.object).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    self.misconfigured(policy, Some(binding), error.message);
                    continue;
                }
            }
            let found = match (&parameters, &binding.reference) {
                (Some(resource), Some(reference)) => reference.collect(attributes, resource).await,
                _ => Ok(vec![Value::Null]),
            };
            match found {
                Ok(parameters) => invocations.extend(parameters.into_iter().map(|parameter| Invocation {
                    policy,
                    binding,
                    matched: matched.clone(),
                    parameter,
                })),
                Err(why) => self.misconfigured(policy, Some(binding), why),
            }
        }
    }

    async fn invoke(&mut self, invocations: &[Invocation<'_>], namespace: &Value) -> Result<(), ApiError> {
        let shared = &self.attributes.shared;
        let again = {
            let mut state = shared.reinvocation();
            let again = state.again;
            state.policies.begin(again, self.object);
            again
        };
        for invocation in invocations {
            let key = invocation.key();
            let due = !again || shared.reinvocation().policies.is_due(&key);
            if !self.condition(invocation, namespace).await? || !due {
                continue;
            }
            let changed = self.mutate(invocation, namespace).await?;
            let mut state = shared.reinvocation();
            if changed {
                state.policies.changed();
                state.wanted = true;
            }
            if invocation.policy.body.again {
                state.policies.note(key);
            }
        }
        shared.reinvocation().policies.end(self.object);
        Ok(())
    }

    async fn condition(&mut self, invocation: &Invocation<'_>, namespace: &Value) -> Result<bool, ApiError> {
        let policy = invocation.policy;
        if policy.conditions.is_empty() {
            return Ok(true);
        }
        let object = self.attributes.at_version(self.object, &invocation.matched).await?;
        let old = self.old(invocation).await?;
        let result = self.with_subject(invocation, [&object, &old], namespace, |subject| {
            policy.conditions.hold(subject, policy.fails)
        });
        drop(object);
        Ok(result.unwrap_or_else(|why| {
            self.refuse(policy, Some(invocation.binding), &why, Some("Invalid"));
            false
        }))
    }

    /// Makes the mutations of a policy, one after the other; whether they changed anything.
    async fn mutate(&mut self, invocation: &Invocation<'_>, namespace: &Value) -> Result<bool, ApiError> {
        let mut changed = false;
        for mutation in &invocation.policy.body.mutations {
            if self.object.is_null() {
                continue;
            }
            let mutated = self.mutated(mutation, invocation, namespace).await;
            match mutated {
                Ok(mut object) => {
                    keep_owners(self.object, &mut object, self.warnings);
                    changed |= object != *self.object;
                    *self.object = object;
                }
                Err(Error::Status(error)) => return Err(error),
                Err(error) => {
                    let why = error.to_string();
                    self.refuse(invocation.policy, Some(invocation.binding), &why, Some("Invalid"));
                }
            }
        }
        Ok(changed)
    }

    async fn mutated(
        &self,
        mutation: &Mutation,
        invocation: &Invocation<'_>,
        namespace: &Value,
    ) -> Result<Value, Error> {
        let matched = &invocation.matched;
        let live = self.attributes.at_version(self.object, matched).await?;
        let old = self.old(invocation).await?;
        let ty = self.attributes.ty(matched)?;
        let object = self.with_subject(invocation, [&live, &old], namespace, |subject| {
            let mut evaluation = subject.evaluation(BUDGET);
            match mutation {
                Mutation::Configuration(expression) => {
                    let made = evaluation.value(expression)?;
                    Ok::<_, Error>(apply::configuration(&live, &made, ty)?)
                }
                Mutation::Operations(expression) => {
                    let made = evaluation.value(expression)?;
                    Ok(apply::operations(&live, &made)?)
                }
            }
        })?;
        let (object, unknown) = self.attributes.decode(object, matched).map_err(|error| match error {
            Undecodable::Type(error) => Error::Decode(error),
            Undecodable::Server(error) => Error::Status(error),
        })?;
        if matches!(mutation, Mutation::Operations(_)) && !unknown.is_empty() {
            let why = format!("strict decoding error: {}", unknown.join(", "));
            return Err(ApiError::internal(why).into());
        }
        Ok(self.attributes.from_version(object, matched).await?)
    }

    /// The object before, at the version that was matched.
    async fn old(&self, invocation: &Invocation<'_>) -> Result<Cow<'_, Value>, ApiError> {
        let old = self.attributes.old.unwrap_or(&Value::Null);
        self.attributes.at_version(old, &invocation.matched).await
    }

    fn with_subject<T>(
        &self,
        invocation: &Invocation<'_>,
        [object, old]: [&Value; 2],
        namespace: &Value,
        judge: impl FnOnce(&Subject<'_>) -> T,
    ) -> T {
        let attributes = self.attributes;
        let request = attributes.request(object, &invocation.matched).into();
        let authorizer = Authorizer::value(attributes, object);
        judge(&Subject {
            object,
            old,
            request: &request,
            namespace,
            parameter: &invocation.parameter,
            authorizer: &authorizer,
            variables: &invocation.policy.variables,
        })
    }

    /// All refusals as one error; it speaks with the words of the first.
    fn finish(self) -> Result<(), ApiError> {
        let Some(first) = self.refusals.first() else { return Ok(()) };
        let mut error = self.attributes.forbidden(self.object, "admission request denied by policy");
        error.message.clone_from(&first.message);
        if let Some(reason) = first.reason {
            error.reason = reason.into();
        }
        if let Some(details) = &mut error.details {
            let cause = |refusal: &Refusal| Cause {
                reason: "".into(),
                message: refusal.message.clone(),
                field: String::new(),
            };
            details.causes.extend(self.refusals.iter().map(cause));
        }
        Err(error)
    }
}
