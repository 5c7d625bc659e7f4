package service

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the service counts.
type metrics struct {
	registry *prometheus.Registry

	hosts       prometheus.Gauge
	connections *prometheus.CounterVec // outcome
	verdicts    *prometheus.CounterVec // status
	leases      *prometheus.CounterVec // outcome
	tokens      prometheus.Counter
	commands    *prometheus.CounterVec // outcome
	receipts    *prometheus.CounterVec // outcome
	round       prometheus.Histogram
	latency     prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		hosts:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "aios_hosts_connected", Help: "Hosts that have proved who they are and are connected."}),
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aios_connections_total",
			Help: "Connections of hosts: proven, refused (what they said was not good), shed (too many at once)."}, []string{"outcome"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aios_verdicts_total", Help: "Appraisals by status."}, []string{"status"}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aios_leases_total",
			Help: "Answers to requests for a lease: granted, renewed, withheld."}, []string{"outcome"}),
		tokens: prometheus.NewCounter(prometheus.CounterOpts{Name: "aios_tokens_total", Help: "Capability tokens that were issued."}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aios_commands_total",
			Help: "Operators' commands: accepted, refused."}, []string{"outcome"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aios_receipts_total",
			Help: "Receipts of hosts: verified, refused."}, []string{"outcome"}),
		round: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aios_round_seconds", Help: "Time of one appraisal.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12)}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aios_kill_seconds",
			Help: "Time from when a command was accepted to when its receipt was verified.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
	}
	m.registry.MustRegister(m.hosts, m.connections, m.verdicts, m.leases, m.tokens, m.commands, m.receipts, m.round, m.latency,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
