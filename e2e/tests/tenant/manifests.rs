//! What the cases apply.

/// A pod that serves, with everything mounted that a pod can have.
pub const STORE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  greeting: good day
  app.ini: |
    mode=fast
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: s3cret}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: store, labels: {app: store}}
spec:
  containers:
    - name: store
      image: vkube/vkube:0.1.0
      args: ["hello"]
      env:
        - name: GREETING
          valueFrom: {configMapKeyRef: {name: settings, key: greeting}}
        - name: TOKEN
          valueFrom: {secretKeyRef: {name: keys, key: token}}
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
      volumeMounts:
        - {name: settings, mountPath: /etc/settings}
        - {name: keys, mountPath: /etc/keys}
        - {name: data, mountPath: /data}
  volumes:
    - {name: settings, configMap: {name: settings}}
    - {name: keys, secret: {secretName: keys}}
    - {name: data, persistentVolumeClaim: {claimName: data}}
"#;

/// A job of two pods that print a sum.
pub const SUM: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 2
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: sum, image: "vkube/vkube:0.1.0", command: [sh, -c, "echo $((20+22))"]}
"#;

/// A ConfigMap of three keys.
pub const COLOURS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: colours, labels: {kind: palette}}
data: {sky: blue, grass: green, sun: yellow}
";

/// A definition of a custom resource.
pub const SHIPS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.sea.example.com}
spec:
  group: sea.example.com
  names: {kind: Ship, plural: ships, singular: ship, shortNames: [sh]}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.crew, statusReplicasPath: .status.crew}
      additionalPrinterColumns:
        - {name: Port, type: string, jsonPath: .spec.port}
        - {name: Crew, type: integer, jsonPath: .spec.crew}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [port]
              properties:
                port: {type: string, description: Where it lies.}
                crew: {type: integer, minimum: 1, default: 7}
              x-kubernetes-validations:
                - {rule: "self.port != 'Atlantis'", message: no such port}
            status:
              type: object
              properties: {crew: {type: integer}}
"#;

/// A custom resource of it.
pub const SHIP: &str = r"
apiVersion: sea.example.com/v1
kind: Ship
metadata: {name: aurora}
spec: {port: Bergen}
";
