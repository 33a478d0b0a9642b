package kubelet

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/foretide/foretide/pkg/telemetry"
)

// The kubelet sends pods as the bytes of k8s.io/api/core/v1.Pod. Importing that package costs the agent 3.2 MiB of resident
// memory, so the few fields that are needed are read here. Their numbers are those of k8s.io/api/core/v1/generated.proto and
// k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto (v0.37.2); numbers of a published API do not change.
const (
	podMetadata, podSpec, podStatus               = 1, 2, 3
	metaName, metaNamespace, metaUID              = 1, 3, 5
	metaAnnotations, metaOwners                   = 12, 13
	ownerKind, ownerName, ownerController         = 1, 3, 6
	specContainers, specHostNetwork               = 2, 11
	specInitContainers, specEphemeralContainers   = 20, 34
	ephemeralCommon                               = 1
	containerName, containerPorts                 = 1, 6
	portName, portNumber                          = 1, 3
	statusPhase, statusConditions                 = 1, 2
	statusPodIP, statusPodIPs                     = 6, 12
	statusContainers, statusInit, statusEphemeral = 8, 10, 13
	conditionType, conditionStatus                = 1, 2
	containerStatusName, containerStatusID        = 1, 8
	podIPIP, mapKey, mapValue                     = 1, 1, 2
)

// field is one field of a message: bytes for strings, bytes and messages, number for integers and booleans.
type field struct {
	bytes  []byte
	number uint64
}

// eachField calls visit for every field that is a string, bytes, a message, an integer or a boolean.
func eachField(message []byte, visit func(number protowire.Number, f field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var f field
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := visit(number, f); err != nil {
			return err
		}
	}
	return nil
}

// decodePod returns the pod and the UID that the kubelet has for it.
func decodePod(message []byte) (*PodInfo, string, error) {
	p, uid := &PodInfo{}, ""
	ids := map[string]string{} // by container name: names are unique in a pod, over all three kinds
	err := eachField(message, func(number protowire.Number, f field) (err error) {
		switch number {
		case podMetadata:
			uid, err = p.decodeMetadata(f.bytes)
		case podSpec:
			err = p.decodeSpec(f.bytes)
		case podStatus:
			err = p.decodeStatus(f.bytes, ids)
		}
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("pod from the kubelet: %w", err)
	}
	if p.Name == "" || p.Namespace == "" || uid == "" {
		return nil, "", fmt.Errorf("pod from the kubelet: namespace %q, name %q, uid %q: none may be empty", p.Namespace, p.Name, uid)
	}
	for i := range p.Containers {
		p.Containers[i].ID = ids[p.Containers[i].Name]
	}
	if p.Annotations[configHash] != uid {
		p.UID = uid
	}
	return p, uid, nil
}

func (p *PodInfo) decodeMetadata(message []byte) (uid string, err error) {
	err = eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case metaName:
			p.Name = string(f.bytes)
		case metaNamespace:
			p.Namespace = string(f.bytes)
		case metaUID:
			uid = string(f.bytes)
		case metaAnnotations:
			return p.decodeAnnotation(f.bytes)
		case metaOwners:
			return p.decodeOwner(f.bytes)
		}
		return nil
	})
	return uid, err
}

func (p *PodInfo) decodeAnnotation(message []byte) error {
	var key, value []byte
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case mapKey:
			key = f.bytes
		case mapValue:
			value = f.bytes
		}
		return nil
	})
	if err == nil && keepsAnnotation(string(key), value) {
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations[string(key)] = string(value)
	}
	return err
}

func (p *PodInfo) decodeOwner(message []byte) error {
	var kind, name string
	controls := false
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case ownerKind:
			kind = string(f.bytes)
		case ownerName:
			name = string(f.bytes)
		case ownerController:
			controls = f.number != 0
		}
		return nil
	})
	if controls {
		p.ControllerKind, p.ControllerName = kind, name
	}
	return err
}

func (p *PodInfo) decodeSpec(message []byte) error {
	var initial, ordinary, ephemeral []Container
	err := eachField(message, func(number protowire.Number, f field) (err error) {
		switch number {
		case specHostNetwork:
			p.HostNetwork = f.number != 0
		case specInitContainers:
			initial, err = p.decodeContainer(initial, f.bytes, true)
		case specContainers:
			ordinary, err = p.decodeContainer(ordinary, f.bytes, false)
		case specEphemeralContainers:
			// The fields of a container are in a message of their own.
			err = eachField(f.bytes, func(number protowire.Number, f field) (err error) {
				if number == ephemeralCommon {
					ephemeral, err = p.decodeContainer(ephemeral, f.bytes, false)
				}
				return err
			})
		}
		return err
	})
	p.Containers = append(append(initial, ordinary...), ephemeral...)
	return err
}

func (p *PodInfo) decodeContainer(to []Container, message []byte, initial bool) ([]Container, error) {
	container := Container{Init: initial}
	first := len(p.Ports)
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case containerName:
			container.Name = string(f.bytes)
		case containerPorts:
			return p.decodePort(f.bytes)
		}
		return nil
	})
	for i := first; i < len(p.Ports); i++ {
		p.Ports[i].Container = container.Name
	}
	return append(to, container), err
}

func (p *PodInfo) decodePort(message []byte) error {
	var port Port
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case portName:
			port.Name = string(f.bytes)
		case portNumber:
			port.Number = int(int32(f.number))
		}
		return nil
	})
	if port.Number > 0 && port.Number < 1<<16 {
		p.Ports = append(p.Ports, port)
	}
	return err
}

func (p *PodInfo) decodeStatus(message []byte, ids map[string]string) error {
	var addresses []string
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case statusPhase:
			p.Running = string(f.bytes) == "Running"
		case statusConditions:
			return decodeReady(f.bytes, &p.Pod)
		case statusPodIP:
			p.IP = string(f.bytes)
		case statusPodIPs:
			return eachField(f.bytes, func(number protowire.Number, f field) error {
				if number == podIPIP {
					addresses = append(addresses, string(f.bytes))
				}
				return nil
			})
		case statusContainers, statusInit, statusEphemeral:
			return decodeContainerID(f.bytes, ids)
		}
		return nil
	})
	if p.IP == "" && len(addresses) > 0 {
		p.IP = addresses[0]
	}
	return err
}

func decodeReady(message []byte, to *telemetry.Pod) error {
	var condition, state string
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case conditionType:
			condition = string(f.bytes)
		case conditionStatus:
			state = string(f.bytes)
		}
		return nil
	})
	if condition == "Ready" {
		to.Ready, to.Known = state == "True", state == "True" || state == "False"
	}
	return err
}

func decodeContainerID(message []byte, ids map[string]string) error {
	var name, id string
	err := eachField(message, func(number protowire.Number, f field) error {
		switch number {
		case containerStatusName:
			name = string(f.bytes)
		case containerStatusID:
			id = bareID(string(f.bytes))
		}
		return nil
	})
	ids[name] = id
	return err
}
