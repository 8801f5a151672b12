//! The fields of internal types, in the order in which Go declares them.
//!
//! A field is `Name`, with what it is when it is absent: `Name` alone is an empty string, `?` is a pointer
//! or a list, `#` a number and `!` a boolean. `Name:Layout` is a struct, `Name?:Layout` a pointer to one or a
//! list of them. The name in the API follows from the Go name unless it is given: `Name=name`.

/// What an absent field prints as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// A string, or a struct with only zero values in it.
    Value,
    /// A pointer, a list or a map.
    Null,
    /// A number.
    Number,
    /// A boolean.
    False,
}

impl Zero {
    /// Its JSON.
    pub const fn to_json(self) -> &'static str {
        match self {
            Self::Value => "\"\"",
            Self::Null => "null",
            Self::Number => "0",
            Self::False => "false",
        }
    }
}

/// A field.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Its name in Go.
    pub name: &'a str,
    /// Its name in the API.
    pub json: String,
    /// What it is when it is absent.
    pub zero: Zero,
    /// Its type, if that has fields of its own.
    pub layout: Option<&'a str>,
}

/// The fields of a type.
pub fn fields(layout: &str) -> impl Iterator<Item = Field<'static>> + use<> {
    let fields = LAYOUTS.iter().find(|(name, _)| *name == layout).map_or("", |(_, fields)| *fields);
    fields.split_whitespace().map(|text| {
        let (text, layout) = text.split_once(':').map_or((text, None), |(text, layout)| (text, Some(layout)));
        let (text, json) = text.split_once('=').map_or((text, None), |(text, json)| (text, Some(json)));
        let (name, zero) = match text.strip_suffix(['?', '#', '!']) {
            Some(name) if text.ends_with('?') => (name, Zero::Null),
            Some(name) if text.ends_with('#') => (name, Zero::Number),
            Some(name) => (name, Zero::False),
            None => (text, Zero::Value),
        };
        let json = json.map_or_else(|| api_name(name), ToOwned::to_owned);
        Field { name, json, zero, layout }
    })
}

/// `DNSPolicy` is `dnsPolicy`, `SELinuxOptions` is `seLinuxOptions`, `TTY` is `tty`.
fn api_name(name: &str) -> String {
    let upper = name.chars().take_while(char::is_ascii_uppercase).count();
    let lowered = if upper > 1 && upper < name.len() { upper - 1 } else { upper };
    format!("{}{}", name[..lowered].to_ascii_lowercase(), &name[lowered..])
}

/// The layouts by name.
pub const LAYOUTS: &[(&str, &str)] = &[
    (
        "PodSpec",
        "Volumes?:Volume InitContainers?:Container Containers?:Container EphemeralContainers?:EphemeralContainer \
         RestartPolicy TerminationGracePeriodSeconds? ActiveDeadlineSeconds? DNSPolicy NodeSelector? \
         ServiceAccountName AutomountServiceAccountToken? NodeName SecurityContext?:PodSecurityContext \
         ImagePullSecrets?:Name Hostname Subdomain SetHostnameAsFQDN? Affinity?:Affinity SchedulerName \
         Tolerations?:Toleration HostAliases?:HostAlias PriorityClassName Priority? PreemptionPolicy? \
         DNSConfig?:PodDNSConfig ReadinessGates?:PodReadinessGate RuntimeClassName? Overhead? \
         EnableServiceLinks? TopologySpreadConstraints?:TopologySpreadConstraint OS?:Name \
         SchedulingGates?:Name ResourceClaims?:PodResourceClaim Resources?:ResourceRequirements \
         HostnameOverride? SchedulingGroup?:PodSchedulingGroup",
    ),
    ("Name", "Name"),
    ("PodSchedulingGroup", "PodGroupName?"),
    (
        "Container",
        "Name Image Command? Args? WorkingDir Ports?:ContainerPort EnvFrom?:EnvFromSource Env?:EnvVar \
         Resources:ResourceRequirements ResizePolicy?:ContainerResizePolicy RestartPolicy? \
         RestartPolicyRules?:ContainerRestartRule VolumeMounts?:VolumeMount VolumeDevices?:VolumeDevice \
         LivenessProbe?:Probe ReadinessProbe?:Probe StartupProbe?:Probe Lifecycle?:Lifecycle \
         TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext?:SecurityContext \
         Stdin! StdinOnce! TTY!",
    ),
    (
        "EphemeralContainer",
        "Name Image Command? Args? WorkingDir Ports?:ContainerPort EnvFrom?:EnvFromSource Env?:EnvVar \
         Resources:ResourceRequirements ResizePolicy?:ContainerResizePolicy RestartPolicy? \
         RestartPolicyRules?:ContainerRestartRule VolumeMounts?:VolumeMount VolumeDevices?:VolumeDevice \
         LivenessProbe?:Probe ReadinessProbe?:Probe StartupProbe?:Probe Lifecycle?:Lifecycle \
         TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext?:SecurityContext \
         Stdin! StdinOnce! TTY! TargetContainerName",
    ),
    ("ContainerPort", "Name HostPort# ContainerPort# Protocol HostIP"),
    ("ContainerResizePolicy", "ResourceName RestartPolicy"),
    ("ContainerRestartRule", "Action ExitCodes?:ContainerRestartRuleOnExitCodes"),
    ("ContainerRestartRuleOnExitCodes", "Operator Values?"),
    ("EnvVar", "Name Value ValueFrom?:EnvVarSource"),
    (
        "EnvVarSource",
        "FieldRef?:ObjectFieldSelector ResourceFieldRef?:ResourceFieldSelector \
         ConfigMapKeyRef?:KeySelector SecretKeyRef?:KeySelector FileKeyRef?:FileKeySelector",
    ),
    ("ObjectFieldSelector", "APIVersion FieldPath"),
    ("ResourceFieldSelector", "ContainerName Resource Divisor"),
    ("KeySelector", "Name Key Optional?"),
    ("FileKeySelector", "VolumeName Path Key Optional?"),
    ("EnvFromSource", "Prefix ConfigMapRef?:EnvSource SecretRef?:EnvSource"),
    ("EnvSource", "Name Optional?"),
    ("ResourceRequirements", "Limits? Requests? Claims?:ResourceClaim"),
    ("ResourceClaim", "Name Request"),
    ("VolumeMount", "Name ReadOnly! RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr"),
    ("VolumeDevice", "Name DevicePath"),
    (
        "Probe",
        "Exec?:ExecAction HTTPGet?:HTTPGetAction TCPSocket?:TCPSocketAction GRPC?:GRPCAction \
         InitialDelaySeconds# TimeoutSeconds# PeriodSeconds# SuccessThreshold# FailureThreshold# \
         TerminationGracePeriodSeconds?",
    ),
    ("ExecAction", "Command?"),
    ("HTTPGetAction", "Path Port# Host Scheme HTTPHeaders?:NameValue"),
    ("TCPSocketAction", "Port# Host"),
    ("GRPCAction", "Port# Service?"),
    ("NameValue", "Name Value"),
    ("NameOptionalValue", "Name Value?"),
    ("Lifecycle", "PostStart?:LifecycleHandler PreStop?:LifecycleHandler StopSignal?"),
    (
        "LifecycleHandler",
        "Exec?:ExecAction HTTPGet?:HTTPGetAction TCPSocket?:TCPSocketAction Sleep?:SleepAction",
    ),
    ("SleepAction", "Seconds#"),
    (
        "SecurityContext",
        "Capabilities?:Capabilities Privileged? SELinuxOptions?:SELinuxOptions \
         WindowsOptions?:WindowsSecurityContextOptions RunAsUser? RunAsGroup? RunAsNonRoot? \
         ReadOnlyRootFilesystem? AllowPrivilegeEscalation? ProcMount? SeccompProfile?:Profile \
         AppArmorProfile?:Profile",
    ),
    ("Capabilities", "Add? Drop?"),
    (
        "PodSecurityContext",
        "HostNetwork! HostPID! HostIPC! ShareProcessNamespace? HostUsers? SELinuxOptions?:SELinuxOptions \
         WindowsOptions?:WindowsSecurityContextOptions RunAsUser? RunAsGroup? RunAsNonRoot? \
         SupplementalGroups? SupplementalGroupsPolicy? FSGroup? FSGroupChangePolicy? Sysctls?:NameValue \
         SeccompProfile?:Profile AppArmorProfile?:Profile SELinuxChangePolicy?",
    ),
    ("SELinuxOptions", "User Role Type Level"),
    (
        "WindowsSecurityContextOptions",
        "GMSACredentialSpecName? GMSACredentialSpec? RunAsUserName? HostProcess?",
    ),
    ("Profile", "Type LocalhostProfile?"),
    ("Toleration", "Key Operator Value Effect TolerationSeconds?"),
    ("HostAlias", "IP Hostnames?"),
    ("PodDNSConfig", "Nameservers? Searches? Options?:NameOptionalValue"),
    ("PodReadinessGate", "ConditionType"),
    ("PodResourceClaim", "Name ResourceClaimName? ResourceClaimTemplateName?"),
    (
        "TopologySpreadConstraint",
        "MaxSkew# TopologyKey WhenUnsatisfiable LabelSelector? MinDomains? NodeAffinityPolicy? \
         NodeTaintsPolicy? MatchLabelKeys?",
    ),
    ("Affinity", "NodeAffinity?:NodeAffinity PodAffinity?:PodAffinity PodAntiAffinity?:PodAffinity"),
    (
        "NodeAffinity",
        "RequiredDuringSchedulingIgnoredDuringExecution?:NodeSelector \
         PreferredDuringSchedulingIgnoredDuringExecution?:PreferredSchedulingTerm",
    ),
    ("NodeSelector", "NodeSelectorTerms?:NodeSelectorTerm"),
    ("NodeSelectorTerm", "MatchExpressions?:Requirement MatchFields?:Requirement"),
    ("Requirement", "Key Operator Values?"),
    ("PreferredSchedulingTerm", "Weight# Preference:NodeSelectorTerm"),
    (
        "PodAffinity",
        "RequiredDuringSchedulingIgnoredDuringExecution?:PodAffinityTerm \
         PreferredDuringSchedulingIgnoredDuringExecution?:WeightedPodAffinityTerm",
    ),
    ("WeightedPodAffinityTerm", "Weight# PodAffinityTerm:PodAffinityTerm"),
    (
        "PodAffinityTerm",
        "LabelSelector? Namespaces? TopologyKey NamespaceSelector? MatchLabelKeys? MismatchLabelKeys?",
    ),
    (
        "Volume",
        "Name HostPath?:HostPathVolumeSource EmptyDir?:EmptyDirVolumeSource GCEPersistentDisk? \
         AWSElasticBlockStore? GitRepo? Secret?:SecretVolumeSource NFS?:NFSVolumeSource ISCSI? Glusterfs? \
         PersistentVolumeClaim?:PersistentVolumeClaimVolumeSource RBD? Quobyte? FlexVolume? Cinder? \
         CephFS?=cephfs Flocker? DownwardAPI?:DownwardAPIVolumeSource FC? AzureFile? \
         ConfigMap?:ConfigMapVolumeSource VsphereVolume? AzureDisk? PhotonPersistentDisk? \
         Projected?:ProjectedVolumeSource PortworxVolume? ScaleIO? StorageOS?=storageos \
         CSI?:CSIVolumeSource Ephemeral? Image?:ImageVolumeSource",
    ),
    ("HostPathVolumeSource", "Path Type?"),
    ("EmptyDirVolumeSource", "Medium SizeLimit?"),
    ("SecretVolumeSource", "SecretName Items?:KeyToPath DefaultMode? Optional?"),
    ("ConfigMapVolumeSource", "Name Items?:KeyToPath DefaultMode? Optional?"),
    ("KeyToPath", "Key Path Mode?"),
    ("NFSVolumeSource", "Server Path ReadOnly!"),
    ("PersistentVolumeClaimVolumeSource", "ClaimName ReadOnly!"),
    ("DownwardAPIVolumeSource", "Items?:DownwardAPIVolumeFile DefaultMode?"),
    (
        "DownwardAPIVolumeFile",
        "Path FieldRef?:ObjectFieldSelector ResourceFieldRef?:ResourceFieldSelector Mode?",
    ),
    ("ProjectedVolumeSource", "Sources?:VolumeProjection DefaultMode?"),
    (
        "VolumeProjection",
        "Secret?:SecretProjection DownwardAPI?:DownwardAPIProjection ConfigMap?:SecretProjection \
         ServiceAccountToken?:ServiceAccountTokenProjection ClusterTrustBundle?:ClusterTrustBundleProjection \
         PodCertificate?:PodCertificateProjection",
    ),
    ("SecretProjection", "Name Items?:KeyToPath Optional?"),
    ("DownwardAPIProjection", "Items?:DownwardAPIVolumeFile"),
    ("ServiceAccountTokenProjection", "Audience ExpirationSeconds# Path"),
    ("ClusterTrustBundleProjection", "Name? SignerName? LabelSelector? Optional? Path"),
    (
        "PodCertificateProjection",
        "SignerName KeyType MaxExpirationSeconds? CredentialBundlePath KeyPath CertificateChainPath \
         UserAnnotations?",
    ),
    ("CSIVolumeSource", "Driver ReadOnly? FSType? VolumeAttributes? NodePublishSecretRef?:Name"),
    ("ImageVolumeSource", "Reference PullPolicy"),
    (
        "PersistentVolumeClaimSpec",
        "AccessModes? Selector? Resources:VolumeResourceRequirements VolumeName StorageClassName? VolumeMode? \
         DataSource?:TypedLocalObjectReference DataSourceRef?:TypedObjectReference VolumeAttributesClassName?",
    ),
    ("VolumeResourceRequirements", "Limits? Requests?"),
    ("TypedLocalObjectReference", "APIGroup? Kind Name"),
    ("TypedObjectReference", "APIGroup? Kind Name Namespace?"),
    (
        "PersistentVolumeSource",
        "GCEPersistentDisk? AWSElasticBlockStore? HostPath?:HostPathVolumeSource Glusterfs? \
         NFS?:NFSVolumeSource RBD? Quobyte? ISCSI? FlexVolume? Cinder? CephFS?=cephfs FC? Flocker? AzureFile? \
         VsphereVolume? AzureDisk? PhotonPersistentDisk? PortworxVolume? ScaleIO? Local?:LocalVolumeSource \
         StorageOS?=storageos CSI?:CSIPersistentVolumeSource",
    ),
    ("VolumeNodeAffinity", "Required?:NodeSelector"),
    ("CSINodeDriver", "Name NodeID TopologyKeys? Allocatable?:VolumeNodeResources"),
    ("VolumeNodeResources", "Count?"),
    ("ScopeSelector", "MatchExpressions?:ScopedResourceSelectorRequirement"),
    ("ScopedResourceSelectorRequirement", "ScopeName Operator Values?"),
    ("EventSource", "Component Host"),
    ("NonResourceAttributes", "Path Verb"),
    ("ObjectReference", "Kind Namespace Name UID APIVersion ResourceVersion FieldPath"),
    ("UncountedTerminatedPods", "Succeeded? Failed?"),
    ("PodFailurePolicy", "Rules?:PodFailurePolicyRule"),
    (
        "PodFailurePolicyRule",
        "Action OnExitCodes?:PodFailurePolicyOnExitCodesRequirement \
         OnPodConditions?:PodFailurePolicyOnPodConditionsPattern",
    ),
    ("PodFailurePolicyOnExitCodesRequirement", "ContainerName? Operator Values?"),
    ("PodFailurePolicyOnPodConditionsPattern", "Type Status"),
    ("ParentReference", "Group Resource Namespace Name"),
    ("SuccessPolicy", "Rules?:SuccessPolicyRule"),
    ("SuccessPolicyRule", "SucceededIndexes? SucceededCount?"),
    ("ResourceClaimSpec", "Devices:DeviceClaim"),
    ("DeviceClaim", "Requests?:DeviceRequest Constraints?:DeviceConstraint Config?:DeviceClaimConfiguration"),
    ("DeviceRequest", "Name Exactly?:ExactDeviceRequest FirstAvailable?:DeviceSubRequest"),
    (
        "ExactDeviceRequest",
        "DeviceClassName Selectors?:DeviceSelector AllocationMode Count# AdminAccess? \
         Tolerations?:DeviceToleration Capacity?:CapacityRequirements",
    ),
    (
        "DeviceSubRequest",
        "Name DeviceClassName Selectors?:DeviceSelector AllocationMode Count# Tolerations?:DeviceToleration \
         Capacity?:CapacityRequirements",
    ),
    ("DeviceSelector", "CEL?:CELDeviceSelector"),
    ("CELDeviceSelector", "Expression"),
    ("DeviceToleration", "Key Operator Value Effect TolerationSeconds?"),
    ("CapacityRequirements", "Requests?"),
    ("DeviceConstraint", "Requests? MatchAttribute? DistinctAttribute?"),
    ("DeviceClaimConfiguration", "Requests? Opaque?:OpaqueDeviceConfiguration"),
    ("OpaqueDeviceConfiguration", "Driver Parameters?"),
    ("AllocationResult", "Devices:DeviceAllocationResult NodeSelector?:NodeSelector AllocationTimestamp?"),
    (
        "DeviceAllocationResult",
        "Results?:DeviceRequestAllocationResult Config?:DeviceAllocationConfiguration",
    ),
    (
        "DeviceRequestAllocationResult",
        "Request Driver Pool Device AdminAccess? Tolerations?:DeviceToleration BindingConditions? \
         BindingFailureConditions? ShareID? ConsumedCapacity?",
    ),
    ("DeviceAllocationConfiguration", "Source Requests? Opaque?:OpaqueDeviceConfiguration"),
    ("LocalVolumeSource", "Path FSType?"),
    (
        "CSIPersistentVolumeSource",
        "Driver VolumeHandle ReadOnly! FSType VolumeAttributes? ControllerPublishSecretRef?:SecretReference \
         NodeStageSecretRef?:SecretReference NodePublishSecretRef?:SecretReference \
         ControllerExpandSecretRef?:SecretReference NodeExpandSecretRef?:SecretReference",
    ),
    ("SecretReference", "Name Namespace"),
    (
        "DeviceAttribute",
        "IntValue?=int BoolValue?=bool StringValue?=string VersionValue?=version IntValues?=ints \
         BoolValues?=bools StringValues?=strings VersionValues?=versions",
    ),
    ("NodeConfigSource", "ConfigMap?:ConfigMapNodeConfigSource"),
    ("ConfigMapNodeConfigSource", "Namespace Name UID ResourceVersion KubeletConfigKey"),
    ("AuditAnnotation", "Key ValueExpression"),
    ("ServiceCIDRSpec", "CIDRs?=cidrs"),
    (
        "FlowSchemaSpec",
        "PriorityLevelConfiguration:Name MatchingPrecedence# DistinguisherMethod?:FlowDistinguisherMethod \
         Rules?:PolicyRulesWithSubjects",
    ),
    ("FlowDistinguisherMethod", "Type"),
    (
        "PolicyRulesWithSubjects",
        "Subjects?:Subject ResourceRules?:ResourcePolicyRule NonResourceRules?:NonResourcePolicyRule",
    ),
    ("Subject", "Kind User?:Name Group?:Name ServiceAccount?:ServiceAccountSubject"),
    ("ServiceAccountSubject", "Namespace Name"),
    ("ResourcePolicyRule", "Verbs? APIGroups? Resources? ClusterScope! Namespaces?"),
    ("NonResourcePolicyRule", "Verbs? NonResourceURLs?"),
    (
        "PriorityLevelConfigurationSpec",
        "Type Limited?:LimitedPriorityLevelConfiguration Exempt?:ExemptPriorityLevelConfiguration",
    ),
    (
        "LimitedPriorityLevelConfiguration",
        "NominalConcurrencyShares# LimitResponse:LimitResponse LendablePercent? BorrowingLimitPercent?",
    ),
    ("LimitResponse", "Type Queuing?:QueuingConfiguration"),
    ("QueuingConfiguration", "Queues# HandSize# QueueLengthLimit#"),
    ("ExemptPriorityLevelConfiguration", "NominalConcurrencyShares? LendablePercent?"),
    (
        "PersistentVolumeSpec",
        "Capacity? GCEPersistentDisk? AWSElasticBlockStore? HostPath?:HostPathVolumeSource Glusterfs? \
         NFS?:NFSVolumeSource RBD? Quobyte? ISCSI? FlexVolume? Cinder? CephFS?=cephfs FC? Flocker? AzureFile? \
         VsphereVolume? AzureDisk? PhotonPersistentDisk? PortworxVolume? ScaleIO? Local?:LocalVolumeSource \
         StorageOS?=storageos CSI?:CSIPersistentVolumeSource \
         AccessModes? ClaimRef?:ObjectReference PersistentVolumeReclaimPolicy StorageClassName MountOptions? \
         VolumeMode? NodeAffinity?:VolumeNodeAffinity VolumeAttributesClassName?",
    ),
    ("VolumeAttachmentSpec", "Attacher Source:VolumeAttachmentSource NodeName"),
    ("VolumeAttachmentSource", "PersistentVolumeName? InlineVolumeSpec?:PersistentVolumeSpec"),
];
