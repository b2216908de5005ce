// What a dashboard's JSON may be: Grafana's own types, with the options of each kind of panel that we use.
//
// Grafana's types are those of the parsed file, in which a string is a member of an enum. In JSON it is its value.

import type { Dashboard, DataQuery, Panel, RowPanel } from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as states from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as series from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Json<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Item)[] ? Json<Item>[]
  : { [Key in keyof T]: Json<T[Key]> };

// The package has no type for what Prometheus is asked.
interface PrometheusQuery extends DataQuery {
  expr: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  legendFormat: string;
  range: boolean;
}

// Only declared keys: Grafana's own type lets `custom` have any.
interface Of<Type extends string, Options, Custom = Record<string, never>>
  extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  options: Options;
  fieldConfig: Omit<NonNullable<Panel['fieldConfig']>, 'defaults'> & {
    defaults: Omit<NonNullable<Panel['fieldConfig']>['defaults'], 'custom'> & { custom?: Custom };
  };
  targets: PrometheusQuery[];
}

type OurPanel =
  | Of<'stat', stat.Options>
  | Of<'state-timeline', states.Options, states.FieldConfig>
  | Of<'table', table.Options, table.FieldConfig>
  | Of<'timeseries', series.Options, series.FieldConfig>
  | RowPanel;

export type OurDashboard = Json<Omit<Dashboard, 'panels'> & { panels: OurPanel[] }>;
