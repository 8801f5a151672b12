//! Profiles: schedulers of different names, each with its own choice of plugins, in one process.
//!
//! The form is that of `profiles` in `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`). Plugins run in
//! their default order, whatever the order of their names.

use serde::Deserialize;
use serde_json::Value;

/// The name that pods get when they ask for no scheduler.
pub const DEFAULT: &str = "default-scheduler";

/// Why a profile cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is not of the form of a profile.
    #[error("not a profile: {0}")]
    Form(String),
    /// There is no such plugin.
    #[error("profile {profile:?} names an unknown plugin {plugin:?}")]
    Plugin {
        /// The profile's name.
        profile: String,
        /// What it calls the plugin.
        plugin: String,
    },
    /// Two profiles have one name.
    #[error("there are two profiles called {0:?}")]
    Twice(String),
    /// Nodes cannot be scored so.
    #[error("profile {profile:?} asks for the unknown scoring strategy {strategy:?}")]
    Strategy {
        /// The profile's name.
        profile: String,
        /// What it calls the strategy.
        strategy: String,
    },
}

macro_rules! plugins {
    ($($(#[$doc:meta])+ $variant:ident filters $filters:literal scores $weight:literal,)+) => {
        /// A part of the scheduler that can be left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Plugin {
            $($(#[$doc])+ $variant,)+
        }

        /// Each plugin, its name, whether it filters nodes, and the weight of its score.
        const PLUGINS: &[(Plugin, &str, bool, i64)] =
            &[$((Plugin::$variant, stringify!($variant), $filters, $weight),)+];
    };
}

plugins! {
    /// Cordoned nodes get no pods.
    NodeUnschedulable filters true scores 0,
    /// Nor do nodes whose taints a pod does not tolerate.
    TaintToleration filters true scores 3,
    /// Node selectors and node affinity.
    NodeAffinity filters true scores 2,
    /// Host ports.
    NodePorts filters true scores 0,
    /// What containers request.
    NodeResourcesFit filters true scores 1,
    /// Volumes that one pod may use only.
    VolumeRestrictions filters true scores 0,
    /// How many volumes a node can have.
    NodeVolumeLimits filters true scores 0,
    /// Where a pod's volumes are or can be made.
    VolumeBinding filters true scores 0,
    /// The zones of volumes.
    VolumeZone filters true scores 0,
    /// Spreading over zones and nodes.
    PodTopologySpread filters true scores 2,
    /// Attraction and repulsion between pods.
    InterPodAffinity filters true scores 2,
    /// The devices of a pod's claims.
    DynamicResources filters true scores 0,
    /// Making room by evicting pods of lower priority.
    DefaultPreemption filters false scores 0,
    /// Using CPU and memory equally.
    NodeResourcesBalancedAllocation filters false scores 1,
    /// Going where images are already.
    ImageLocality filters false scores 1,
}

/// What upstream has as plugins, and what is always done here.
const ALWAYS: [&str; 5] = ["SchedulingGates", "PrioritySort", "NodeName", "DefaultBinder", "GangScheduling"];

/// A scheduler by name, and how it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) name: String,
    filters: u32,
    /// By plugin; 0 for those that do not score.
    weights: [i64; PLUGINS.len()],
    pub(crate) preempts: bool,
    /// Whether full nodes are better than empty ones.
    pub(crate) packs: bool,
}

impl Default for Profile {
    fn default() -> Self {
        let mut profile = Self {
            name: DEFAULT.to_owned(),
            filters: 0,
            weights: [0; PLUGINS.len()],
            preempts: true,
            packs: false,
        };
        for (plugin, _, filters, weight) in PLUGINS {
            profile.set_filter(*plugin, *filters);
            profile.set_weight(*plugin, *weight);
        }
        profile
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default)]
    scheduler_name: Option<String>,
    #[serde(default)]
    plugins: Points,
    #[serde(default)]
    plugin_config: Vec<Arguments>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Points {
    #[serde(default)]
    multi_point: Choice,
    #[serde(default)]
    filter: Choice,
    #[serde(default)]
    score: Choice,
    #[serde(default)]
    post_filter: Choice,
}

#[derive(Default, Deserialize)]
struct Choice {
    #[serde(default)]
    enabled: Vec<Named>,
    #[serde(default)]
    disabled: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    weight: Option<i64>,
}

#[derive(Deserialize)]
struct Arguments {
    name: String,
    #[serde(default)]
    args: Value,
}

impl Profile {
    /// The profiles of a `KubeSchedulerConfiguration`; the default one if there are none.
    pub fn read_all(profiles: &[Value]) -> Result<Vec<Self>, ProfileError> {
        let mut read: Vec<Self> = Vec::new();
        for profile in profiles {
            let profile = Self::read(profile)?;
            if read.iter().any(|other| other.name == profile.name) {
                return Err(ProfileError::Twice(profile.name));
            }
            read.push(profile);
        }
        Ok(if read.is_empty() { vec![Self::default()] } else { read })
    }

    fn read(profile: &Value) -> Result<Self, ProfileError> {
        let form = Form::deserialize(profile).map_err(|why| ProfileError::Form(why.to_string()))?;
        let mut profile =
            Self { name: form.scheduler_name.unwrap_or_else(|| DEFAULT.into()), ..Self::default() };
        let Points { multi_point, filter, score, post_filter } = form.plugins;
        // What holds at one point counts for more than what holds at all of them.
        for choice in [&multi_point, &filter] {
            profile
                .choose(choice, |profile, plugin, on| profile.set_filter(plugin, on && filters(plugin)))?;
        }
        for choice in [&multi_point, &score] {
            profile.choose_scores(choice)?;
        }
        for choice in [&multi_point, &post_filter] {
            profile.choose(choice, |profile, plugin, on| {
                if plugin == Plugin::DefaultPreemption {
                    profile.preempts = on;
                }
            })?;
        }
        for Arguments { name, args } in &form.plugin_config {
            let strategy = args.pointer("/scoringStrategy/type").and_then(Value::as_str);
            match (name.as_str(), strategy) {
                ("NodeResourcesFit", Some("MostAllocated")) => profile.packs = true,
                ("NodeResourcesFit", Some(strategy)) if strategy != "LeastAllocated" => {
                    return Err(ProfileError::Strategy { profile: profile.name, strategy: strategy.into() });
                }
                _ => {}
            }
        }
        Ok(profile)
    }

    /// Turns plugins off and on, in this order, so that one can stand for all: `*` off, then some of them on.
    fn choose(&mut self, choice: &Choice, set: impl Fn(&mut Self, Plugin, bool)) -> Result<(), ProfileError> {
        for (named, on) in
            choice.disabled.iter().map(|one| (one, false)).chain(choice.enabled.iter().map(|one| (one, true)))
        {
            for plugin in self.plugins(&named.name)? {
                set(self, plugin, on);
            }
        }
        Ok(())
    }

    fn choose_scores(&mut self, choice: &Choice) -> Result<(), ProfileError> {
        for named in &choice.disabled {
            for plugin in self.plugins(&named.name)? {
                self.set_weight(plugin, 0);
            }
        }
        for named in &choice.enabled {
            for plugin in self.plugins(&named.name)? {
                // Only what scores has a default weight, and only that can be given another.
                let default =
                    PLUGINS.iter().find(|(one, ..)| *one == plugin).map_or(0, |(.., weight)| *weight);
                let weight = named.weight.filter(|weight| *weight != 0).unwrap_or(default);
                self.set_weight(plugin, if default == 0 { 0 } else { weight });
            }
        }
        Ok(())
    }

    /// The plugins that a name stands for.
    fn plugins(&self, name: &str) -> Result<Vec<Plugin>, ProfileError> {
        let found: Vec<_> = PLUGINS
            .iter()
            .filter(|(_, one, ..)| name == "*" || *one == name)
            .map(|(plugin, ..)| *plugin)
            .collect();
        if found.is_empty() && !ALWAYS.contains(&name) {
            return Err(ProfileError::Plugin { profile: self.name.clone(), plugin: name.to_owned() });
        }
        Ok(found)
    }

    fn set_filter(&mut self, plugin: Plugin, on: bool) {
        let bit = 1 << plugin as u8;
        self.filters = if on { self.filters | bit } else { self.filters & !bit };
    }

    fn set_weight(&mut self, plugin: Plugin, weight: i64) {
        if let Some(slot) = self.weights.get_mut(usize::from(plugin as u8)) {
            *slot = weight;
        }
    }

    /// Whether nodes must pass the plugin.
    pub(crate) fn filters(&self, plugin: Plugin) -> bool {
        self.filters & (1 << plugin as u8) != 0
    }

    /// How much the plugin's score counts.
    pub(crate) fn weight(&self, plugin: Plugin) -> i64 {
        self.weights.get(usize::from(plugin as u8)).copied().unwrap_or(0)
    }
}

fn filters(plugin: Plugin) -> bool {
    PLUGINS.iter().any(|(one, _, filters, _)| *one == plugin && *filters)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(profile: Value) -> Result<Profile, ProfileError> {
        Profile::read_all(&[profile]).map(|mut all| all.remove(0))
    }

    #[test]
    fn without_profiles_there_is_the_default_one() {
        assert_eq!(Profile::read_all(&[]), Ok(vec![Profile::default()]));
        assert_eq!(read(json!({})), Ok(Profile::default()));
    }

    #[test]
    fn a_profile_leaves_plugins_out_and_weighs_others_anew() {
        let score = json!({
            "disabled": [{"name": "*"}],
            "enabled": [{"name": "ImageLocality", "weight": 7}, {"name": "NodeAffinity"}],
        });
        let profile = read(json!({
            "schedulerName": "packed",
            "plugins": {"multiPoint": {"disabled": [{"name": "DefaultPreemption"}]}, "score": score},
            "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}],
        }))
        .unwrap();
        assert_eq!((profile.name.as_str(), profile.preempts, profile.packs), ("packed", false, true));
        let weights = [Plugin::ImageLocality, Plugin::NodeAffinity, Plugin::TaintToleration];
        assert_eq!(weights.map(|plugin| profile.weight(plugin)), [7, 2, 0]);
        assert!(profile.filters(Plugin::TaintToleration), "it still filters");
        let filter = json!({"disabled": [{"name": "NodePorts"}]});
        let profile = read(json!({"plugins": {"filter": filter}})).unwrap();
        assert!(!profile.filters(Plugin::NodePorts) && profile.filters(Plugin::NodeResourcesFit));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let plugins = json!({"score": {"enabled": [{"name": "Astrology"}]}});
        let error = read(json!({"plugins": plugins})).unwrap_err();
        assert_eq!(error.to_string(), "profile \"default-scheduler\" names an unknown plugin \"Astrology\"");
        let twice = Profile::read_all(&[json!({}), json!({})]).unwrap_err();
        assert_eq!(twice, ProfileError::Twice(DEFAULT.to_owned()));
    }
}
