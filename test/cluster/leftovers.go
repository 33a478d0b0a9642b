package main

import (
	"os"

	"github.com/foretide/foretide/test/cluster/host"
	"github.com/foretide/foretide/test/cluster/proc"
)

// leftovers looks afresh at everything a cluster can leave behind.
func leftovers(l layout, keepLogs bool) ([]string, error) {
	var left []string
	ids, err := proc.Find(l.dir, executables())
	if err != nil {
		return nil, err
	}
	pods, err := podProcesses()
	if err != nil {
		return nil, err
	}
	for _, id := range append(ids, pods...) {
		left = append(left, "process "+proc.Describe(id))
	}
	mounts, err := host.MountsBelow(l.dir)
	if err != nil {
		return nil, err
	}
	for _, mount := range mounts {
		left = append(left, "mount "+mount)
	}
	links, err := host.PodLinks(podNet())
	if err != nil {
		return nil, err
	}
	for _, link := range append(links, vethName, vethPeer) {
		if host.LinkExists(link) {
			left = append(left, "interface "+link)
		}
	}
	tables, err := host.KubeProxyTables()
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		left = append(left, "nftables table "+table)
	}
	trees, err := host.CgroupTrees("kubepods")
	if err != nil {
		return nil, err
	}
	for _, tree := range trees {
		left = append(left, "cgroup "+tree)
	}
	files, err := elsewhere(l, nil)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		left = append(left, "file "+file)
	}
	if _, err := os.Stat(l.dir); err == nil && !keepLogs {
		left = append(left, "folder "+l.dir)
	}
	return left, nil
}
